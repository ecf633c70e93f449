import type { Logger } from "pino";
import { uploadKey } from "../../lib/media-path.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import { Wakeup } from "../../lib/waiting.ts";
import type { Removal, RemovalsRepository } from "./removals.repository.ts";
import { removeFiles, type FileOwner } from "./stored-files.ts";

const POLL_MS = 5000;
const BATCH = 20;
const LATER = "the bytes of an image are removed later";

interface RemoverParts {
  storage: Storage;
  removals: RemovalsRepository;
  log: Logger;
}

/**
 * Removes the bytes of images that are no more, until they are gone. All nodes of the service do it together: each entry
 * is leased to one of them, and to any of them again when that one has not removed it in time.
 */
export class Remover {
  readonly #parts: RemoverParts;
  readonly #stopping = new AbortController();
  readonly #wakeup = new Wakeup();
  #running: Promise<void> | undefined;

  constructor(parts: RemoverParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** There is something to remove. */
  wake(): void {
    this.#wakeup.call();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Removes what is left of an image, now. What fails is left to a later time. */
  async remove(imageId: string): Promise<void> {
    const { removals, log } = this.#parts;
    const removal = await removals.lease(imageId).catch((error: unknown) => {
      log.warn({ err: error, imageId }, LATER);
    });
    if (removal) await this.#remove(removal);
  }

  /**
   * Removes what a storage has written of an image that it did not take whole. The entry stays until it is due: what the
   * storage was too slow for may be written yet.
   */
  async removeEarly(image: FileOwner): Promise<void> {
    const { storage, log } = this.#parts;
    await removeFiles(storage, image).catch((error: unknown) => {
      log.warn({ err: error, hash: image.hash }, LATER);
    });
  }

  /** Removes bytes that have arrived for uploads that are no more. What fails is swept later. */
  async removeUploads(ids: readonly string[]): Promise<void> {
    const { storage, log } = this.#parts;
    await storage.remove(ids.map(uploadKey)).catch((error: unknown) => {
      log.warn({ err: error }, "the bytes of uploads are removed later");
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      // A database that is away is reported by its monitor.
      const due = await this.#parts.removals.leaseDue(BATCH).catch(() => []);
      await Promise.all(due.map((removal) => this.#remove(removal)));
      // Spread, so that the nodes do not all look at once.
      if (due.length < BATCH) await this.#wakeup.wait(POLL_MS * (0.75 + Math.random() / 2), signal);
    }
  }

  async #remove(removal: Removal): Promise<void> {
    const { storage, removals, log } = this.#parts;
    try {
      await removeFiles(storage, removal);
      await removals.done(removal.imageId);
    } catch (error) {
      log.warn({ err: error, imageId: removal.imageId }, LATER);
    }
  }
}
