import type { Config } from "../../lib/config.ts";
import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import type { Work } from "../../mixins/unit-of-work.mixin.ts";
import type { Outcome } from "../../mixins/unit-of-work.store.ts";
import { factsOf, type ImageRecord } from "./images.domain.ts";
import { heldUp } from "./images.errors.ts";
import type { ImagesRepository } from "./images.repository.ts";
import type { Remover } from "./remover.ts";
import type { RemovalsRepository } from "./removals.repository.ts";
import { storeFiles } from "./stored-files.ts";
import type { FinishedImage } from "./workshop.ts";

/** More than bytes may take to be read or written: a transaction that is idle for longer is ended by the database. */
const IDLE_LIMIT_MS = 60_000;
const ALLOW_IDLE = {
  name: "images.allow-idle",
  text: "SELECT set_config('idle_in_transaction_session_timeout', $1, true)",
};

/** Lets a transaction stay open while bytes are read or written. @param workMs what else may take time meanwhile */
export function allowIdle(transaction: DatabaseTransaction, workMs = 0): void {
  transaction.enlist(transaction.query(ALLOW_IDLE, [String(IDLE_LIMIT_MS + workMs)]));
}

/** How many write at the same time on a node: each takes a connection of the database, and others need some, too. */
export function writersOf({
  IMAGE_WORKERS: workers,
  DATABASE_POOL_MAX: connections,
}: Pick<Config, "IMAGE_WORKERS" | "DATABASE_POOL_MAX">): number {
  return Math.max(1, Math.min(workers, Math.floor(connections / 4)));
}

type Draft = Omit<ImageRecord, "createdAt">;
/** What else is written with the row. */
type Beside = (transaction: DatabaseTransaction) => Promise<unknown>;

interface CreationParts {
  storage: Storage;
  images: ImagesRepository;
  removals: RemovalsRepository;
  remover: Remover;
}

/**
 * Writes the row and the bytes of an image at the same time: both are there afterwards, or neither. Before the first
 * byte is, its removal is noted, and the transaction of the row deletes the note. So when a write fails, the process
 * dies or the end of the transaction is not known, the note tells whether the bytes are to go.
 */
export class Creation {
  readonly #parts: CreationParts;

  constructor(parts: CreationParts) {
    this.#parts = parts;
  }

  /**
   * @param save runs a change as a unit of work, and gives the result of it or, for a replay, that of the first attempt
   * @param beside writes with the row; what it throws undoes all
   * @throws USER_NOT_FOUND, STORAGE_UNAVAILABLE, and what `save` throws
   */
  async create(
    draft: Draft,
    finished: FinishedImage,
    save: (change: (work: Work) => Promise<Outcome<ImageRecord>>) => Promise<ImageRecord>,
    beside: Beside = async () => undefined,
  ): Promise<ImageRecord> {
    const { storage, removals, remover } = this.#parts;
    await removals.reserve({ imageId: draft.id, ...draft });
    let saved: ImageRecord | undefined;
    let areBytesWritten = true;
    try {
      saved = await save(async (work) => {
        const [row, bytes] = await Promise.allSettled([
          this.#insert(draft, work, beside),
          storeFiles(storage, draft, finished.original, finished.files),
        ]);
        areBytesWritten = bytes.status === "fulfilled";
        if (row.status === "rejected") throw row.reason;
        if (bytes.status === "rejected") throw bytes.reason;
        work.record({
          type: "image-created_v1",
          data: factsOf(row.value),
          changedFields: Object.keys(factsOf(row.value)),
        });
        return { subject: draft.id, result: row.value };
      });
      return saved;
    } finally {
      if (!areBytesWritten) await remover.removeEarly(draft);
      // A replay has the image of the first attempt.
      else if (saved?.id !== draft.id) await remover.remove(draft.id);
    }
  }

  async #insert(draft: Draft, work: Work, beside: Beside): Promise<ImageRecord> {
    const { images, removals } = this.#parts;
    const { transaction } = work;
    allowIdle(transaction);
    const owner = { id: draft.userId, version: draft.userVersion };
    const [isReserved] = await Promise.all([
      removals.cancel(draft.id, transaction),
      images.requireOwner(owner, transaction),
      beside(transaction),
    ]);
    if (!isReserved) throw heldUp();
    const record = { ...draft, createdAt: work.now.toISOString() };
    await images.insert(record, transaction);
    return record;
  }
}
