import { appError } from "../../broker/errors.ts";
import type { ErrorCode } from "../../lib/error-catalogue.ts";

/** One of so many places is kept for clients that have none. */
const PLACES_TO_ONE_KEPT = 6;

/**
 * Places for what takes as long as a client likes. The last of them go only to clients that have none yet, so that one
 * that is slow, many times at once, does not shut the others out.
 */
export class SharedPlaces {
  readonly #kept: number;
  readonly #refusal: ErrorCode;
  #free: number;
  /** By client, for those that have any. */
  readonly #held = new Map<string, number>();

  /** @param refusal what a client is told that has some, and gets no more */
  constructor(count: number, refusal: ErrorCode) {
    this.#free = count;
    this.#kept = Math.ceil(count / PLACES_TO_ONE_KEPT);
    this.#refusal = refusal;
  }

  /**
   * Works in a place, which is free again when that has ended.
   *
   * @throws the refusal, OVERLOADED, and what `work` throws
   */
  async run<T>(client: string, work: () => Promise<T>): Promise<T> {
    const held = this.#held.get(client) ?? 0;
    if (held > 0 && this.#free <= this.#kept) throw appError(this.#refusal);
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
