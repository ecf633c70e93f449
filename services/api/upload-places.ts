import { appError } from "../../broker/errors.ts";

/** One of so many places is kept for clients that have no upload under way. */
const PLACES_TO_ONE_KEPT = 6;

/**
 * Places for uploads at the same time. The last of them go only to clients that have none yet, so that a client whose
 * uploads are many and slow does not shut the others out.
 */
export class UploadPlaces {
  readonly #kept: number;
  #free: number;
  /** By client, for those that have any. */
  readonly #held = new Map<string, number>();

  constructor(count: number) {
    this.#free = count;
    this.#kept = Math.ceil(count / PLACES_TO_ONE_KEPT);
  }

  /**
   * Works in a place, which is free again when that has ended.
   *
   * @throws TOO_MANY_UPLOADS, OVERLOADED, and what `work` throws
   */
  async run<T>(client: string, work: () => Promise<T>): Promise<T> {
    const held = this.#held.get(client) ?? 0;
    if (held > 0 && this.#free <= this.#kept) throw appError("TOO_MANY_UPLOADS");
    if (this.#free === 0) throw appError("OVERLOADED");
    this.#free -= 1;
    this.#held.set(client, held + 1);
    try {
      return await work();
    } finally {
      this.#free += 1;
      this.#leave(client);
    }
  }

  #leave(client: string): void {
    const left = (this.#held.get(client) ?? 0) - 1;
    if (left > 0) this.#held.set(client, left);
    else this.#held.delete(client);
  }
}
