import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { Database } from "../../lib/database.ts";
import type { ImageRecord } from "./images.domain.ts";

/** The bytes of an image, to be removed. */
export type Removal = Pick<ImageRecord, "visibility" | "hash"> & { imageId: string };

/** Far more than it takes to write the bytes and the row of an image. */
const RESERVED_MINUTES = 10;

/** What failed is tried again after 10 s, 20 s, 40 s … and then every hour. */
const BACKOFF = "least(10 * 2 ^ least(attempts, 20), 3600) * interval '1 second'";

const RESERVE = {
  name: "images.reserve",
  text: `INSERT INTO images.removals (image_id, visibility, hash, not_before)
    VALUES ($1, $2, $3, now() + interval '${RESERVED_MINUTES} minutes')`,
};
const CANCEL = {
  name: "images.cancel-removal",
  text: "DELETE FROM images.removals WHERE image_id = $1 AND attempts = 0 RETURNING 1",
};
const LEASED = `SET attempts = attempts + 1, not_before = now() + ${BACKOFF}`;
const RETURNED = `RETURNING image_id AS "imageId", visibility, hash`;
const LEASE_DUE = {
  name: "images.lease-due-removals",
  text: `UPDATE images.removals ${LEASED} WHERE image_id IN (
      SELECT image_id FROM images.removals WHERE not_before <= now()
      ORDER BY not_before LIMIT $1 FOR UPDATE SKIP LOCKED
    ) ${RETURNED}`,
};
const LEASE = {
  name: "images.lease-removal",
  text: `UPDATE images.removals ${LEASED} WHERE image_id IN (
      SELECT image_id FROM images.removals WHERE image_id = $1 FOR UPDATE SKIP LOCKED
    ) ${RETURNED}`,
};
const DONE = { name: "images.removal-done", text: "DELETE FROM images.removals WHERE image_id = $1" };
const COUNT = {
  name: "images.count-removals",
  text: `SELECT count(*)::integer AS pending FROM images.removals WHERE attempts > 0 OR not_before <= now()`,
};

/**
 * Bytes that are to be removed. An image has an entry from before its bytes are written until its row is, and again from
 * when its row is deleted until they are gone: whatever dies meanwhile, the entry says what is left.
 */
export class RemovalsRepository {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Has the bytes of an image removed that are about to be written, unless {@link cancel} comes within minutes. */
  async reserve({ imageId, visibility, hash }: Removal): Promise<void> {
    await this.#database.query(RESERVE, [imageId, visibility, hash]);
  }

  /** The bytes stay if the transaction commits. @returns false when their removal has begun */
  async cancel(imageId: string, transaction: DatabaseTransaction): Promise<boolean> {
    return (await transaction.query(CANCEL, [imageId])).length === 1;
  }

  /** What is due, for the caller alone until it is due again. */
  leaseDue(limit: number): Promise<Removal[]> {
    return this.#database.query<Removal>(LEASE_DUE, [limit]);
  }

  /** One, due or not; undefined when there is none, or a transaction that is not over has to do with it. */
  async lease(imageId: string): Promise<Removal | undefined> {
    const [removal] = await this.#database.query<Removal>(LEASE, [imageId]);
    return removal;
  }

  async done(imageId: string): Promise<void> {
    await this.#database.query(DONE, [imageId]);
  }

  async countPending(): Promise<number> {
    const [row] = await this.#database.query<{ pending: number }>(COUNT, []);
    return row?.pending ?? 0;
  }
}
