import { appError } from "../../broker/errors.ts";
import type { Config } from "../../lib/config.ts";
import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { Database } from "../../lib/database.ts";
import { isConfigured } from "../../lib/image-settings.ts";
import { mediaKey, type MediaFile } from "../../lib/media-path.ts";
import { Slots } from "../../lib/slots.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import { pause } from "../../lib/waiting.ts";
import { allowIdle, writersOf } from "./creation.ts";
import type { ImageRecord } from "./images.domain.ts";
import { fileNotFound } from "./images.errors.ts";
import type { ImagesRepository } from "./images.repository.ts";
import { storeFile } from "./stored-files.ts";
import type { Workshop } from "./workshop.ts";

/** How often it is looked whether another node has made a file. */
const LOOK_MS = 250;

const TRY_LOCK = {
  name: "images.try-render-lock",
  text: "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS is_ours",
};

interface RenderingParts {
  config: Config;
  database: Database;
  storage: Storage;
  images: ImagesRepository;
  workshop: Workshop;
}

/** Makes files of presets or formats that were configured after their image came. Each is made once, by one node. */
export class Rendering {
  readonly #parts: RenderingParts;
  /** Each takes a connection of the database. */
  readonly #slots: Slots;
  readonly #running = new Map<string, Promise<void>>();

  constructor(parts: RenderingParts) {
    this.#parts = parts;
    this.#slots = new Slots(writersOf(parts.config));
  }

  /** A wait for another node, and the work of this one if that node has died. */
  get timeoutMs(): number {
    const { IMAGE_TIMEOUT_MS: work, STORAGE_TIMEOUT_MS: storage } = this.#parts.config;
    return 2 * (work + storage);
  }

  /**
   * Makes a file unless it is there.
   *
   * @throws IMAGE_NOT_FOUND when no image has it, or it is not configured; and as {@link Workshop.render}
   */
  async render(file: MediaFile): Promise<void> {
    if (!isConfigured(file, this.#parts.config)) throw fileNotFound();
    const key = mediaKey(file);
    const running =
      this.#running.get(key) ?? this.#render(key, file).finally(() => this.#running.delete(key));
    this.#running.set(key, running);
    await running;
  }

  async #render(key: string, file: MediaFile): Promise<void> {
    const { images, database } = this.#parts;
    const image = await images.findByHash(file.hash);
    if (image?.visibility !== file.visibility) throw fileNotFound();
    const deadline = AbortSignal.timeout(this.timeoutMs);
    while (!deadline.aborted) {
      const isThere = await this.#slots.run(() =>
        database.transaction((transaction) => this.#renderAlone(key, image, file, transaction)),
      );
      if (isThere) return;
      await pause(LOOK_MS, deadline);
    }
    throw appError("OVERLOADED");
  }

  /** @returns false when another node is making it */
  async #renderAlone(
    key: string,
    image: ImageRecord,
    { preset, format }: MediaFile,
    transaction: DatabaseTransaction,
  ): Promise<boolean> {
    const { config, images, storage, workshop } = this.#parts;
    const [lock] = await transaction.query<{ is_ours: boolean }>(TRY_LOCK, [key]);
    if (!lock?.is_ours) return false;
    // A wait for a worker, and two attempts at the work.
    allowIdle(transaction, 3 * config.IMAGE_TIMEOUT_MS);
    if (await storage.head(key)) return true;
    await workshop.render(image, { preset, format }, async (made) => {
      // The row is there until the file is: were it deleted before, nobody would remove the file.
      if (!(await images.share(image.id, transaction))) throw fileNotFound();
      await storeFile(storage, image, made);
    });
    return true;
  }
}
