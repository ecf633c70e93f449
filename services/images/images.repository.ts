import type { CursorPosition } from "../../lib/cursor.ts";
import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { Database } from "../../lib/database.ts";
import type { ImageRecord } from "./images.domain.ts";
import { ownerGone } from "./images.errors.ts";

/** The column of each field. */
const COLUMN_OF: Readonly<Record<keyof ImageRecord, string>> = {
  id: "id",
  userId: "user_id",
  userVersion: "user_version",
  visibility: "visibility",
  hash: "hash",
  format: "format",
  width: "width",
  height: "height",
  bytes: "bytes",
  sha256: "sha256",
  thumbhash: "thumbhash",
  dominantColor: "dominant_color",
  createdAt: "created_at",
};
const FIELDS = Object.keys(COLUMN_OF) as (keyof ImageRecord)[];
const COLUMNS = Object.values(COLUMN_OF).join(", ");
const PARAMETERS = FIELDS.map((_field, index) => `$${index + 1}`).join(", ");

/** A row under the names of the fields. */
const ROW = FIELDS.map((field) => `image.${COLUMN_OF[field]} AS "${field}"`).join(", ");

const ADD_OWNER = {
  name: "images.add-owner",
  text: "INSERT INTO images.owners (user_id) VALUES ($1) ON CONFLICT DO NOTHING",
};
const SHARE_OWNER = {
  name: "images.share-owner",
  text: `SELECT gone_version AS "goneVersion" FROM images.owners WHERE user_id = $1 FOR SHARE`,
};
const INSERT = {
  name: "images.insert",
  text: `INSERT INTO images.images (${COLUMNS}) VALUES (${PARAMETERS})`,
};
const FIND = {
  name: "images.find",
  text: `SELECT ${ROW} FROM images.images AS image WHERE id = $1`,
};
const LOCK = { name: "images.lock", text: `${FIND.text} FOR UPDATE` };
const FIND_BY_HASH = {
  name: "images.find-by-hash",
  text: `SELECT ${ROW} FROM images.images AS image WHERE hash = $1`,
};
const SHARE = { name: "images.share", text: `${FIND.text} FOR KEY SHARE` };
const FIRST_PAGE = {
  name: "images.first-page",
  text: `SELECT ${ROW} FROM images.images AS image WHERE user_id = $1
    ORDER BY created_at DESC, id DESC LIMIT $2`,
};
const NEXT_PAGE = {
  name: "images.next-page",
  text: `SELECT ${ROW} FROM images.images AS image
    WHERE user_id = $1 AND (created_at, id) < ($3::timestamptz, $4::uuid)
    ORDER BY created_at DESC, id DESC LIMIT $2`,
};
const SHOWN = {
  name: "images.shown",
  text: `
    SELECT hash, false AS "isAvatar" FROM (
      SELECT hash FROM images.images WHERE user_id = $1 AND visibility = 'public'
      ORDER BY created_at DESC, id DESC LIMIT $2
    ) AS newest
    UNION ALL
    SELECT hash, true FROM images.avatars JOIN images.images AS image ON image.id = image_id
    WHERE avatars.user_id = $1`,
};
const SET_AVATAR = {
  name: "images.set-avatar",
  text: `INSERT INTO images.avatars AS avatar (user_id, image_id) VALUES ($1, $2)
    ON CONFLICT (user_id) DO UPDATE SET image_id = $2 WHERE avatar.image_id <> $2 RETURNING 1`,
};
const CLEAR_AVATAR = {
  name: "images.clear-avatar",
  text: "DELETE FROM images.avatars WHERE user_id = $1 RETURNING 1",
};
const DROP_AVATAR = {
  name: "images.drop-avatar",
  text: "DELETE FROM images.avatars WHERE image_id = $1 RETURNING 1",
};

/** What goes with rows: their bytes are to be removed, and their ids are remembered while the log has their events. */
const deletion = (condition: string): string => `
  WITH gone AS (
    DELETE FROM images.images WHERE ${condition} RETURNING id, user_id, visibility, hash
  ), removal AS (
    INSERT INTO images.removals (image_id, visibility, hash, not_before)
    SELECT id, visibility, hash, now() FROM gone
  ), remembered AS (
    INSERT INTO images.deleted (image_id, user_id, deleted_at) SELECT id, user_id, now() FROM gone
  )
  SELECT id FROM gone`;

const DELETE = { name: "images.delete", text: deletion("id = $1") };
const SET_GONE = {
  name: "images.set-gone",
  text: `INSERT INTO images.owners AS owner (user_id, gone_version) VALUES ($1, $2)
    ON CONFLICT (user_id) DO UPDATE SET gone_version = greatest(owner.gone_version, $2)`,
};
const DELETE_OF_USER = {
  name: "images.delete-of-user",
  text: deletion(`id IN (
    SELECT id FROM images.images WHERE user_id = $1 AND user_version <= $2 LIMIT $3
  )`),
};
const TAKE_DELETED = {
  name: "images.take-deleted",
  text: `DELETE FROM images.deleted WHERE image_id IN (
    SELECT image_id FROM images.deleted WHERE user_id = $1 LIMIT $2
  ) RETURNING image_id AS id`,
};
const PURGE_DELETED = {
  name: "images.purge-deleted",
  text: `DELETE FROM images.deleted WHERE image_id IN (
      SELECT image_id FROM images.deleted WHERE deleted_at < now() - $1 * interval '1 day'
      LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING 1`,
};

/** Rows that one statement deletes: PostgreSQL gives a statement seconds, and a user may have any number of images. */
const BATCH = 1000;

/** Access to the rows of images. */
export class ImagesRepository {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async find(id: string): Promise<ImageRecord | undefined> {
    const [record] = await this.#database.query<ImageRecord>(FIND, [id]);
    return record;
  }

  async findByHash(hash: string): Promise<ImageRecord | undefined> {
    const [record] = await this.#database.query<ImageRecord>(FIND_BY_HASH, [hash]);
    return record;
  }

  /** Up to `limit` images of a user, the newest first, from a replica unless `fresh`. */
  list(
    { userId, after, limit }: { userId: string; after: CursorPosition | undefined; limit: number },
    options: { fresh: boolean },
  ): Promise<ImageRecord[]> {
    const statement = after ? NEXT_PAGE : FIRST_PAGE;
    return this.#database.read<ImageRecord>(options, statement, [userId, limit, ...(after ?? [])]);
  }

  /** The hashes of what a user shows: of its newest public images, the newest first, and of its avatar. */
  async findShown(userId: string, limit: number): Promise<{ hashes: string[]; avatar: string | undefined }> {
    const rows = await this.#database.query<{ hash: string; isAvatar: boolean }>(SHOWN, [userId, limit]);
    return {
      hashes: rows.filter(({ isAvatar }) => !isAvatar).map(({ hash }) => hash),
      avatar: rows.find(({ isAvatar }) => isAvatar)?.hash,
    };
  }

  /** Lets a user have images. By itself, as two first uploads in transactions would wait for each other. */
  async addOwner(userId: string): Promise<void> {
    await this.#database.query(ADD_OWNER, [userId]);
  }

  /**
   * Makes sure that a user is there until the transaction ends.
   *
   * @throws USER_NOT_FOUND when it was deleted or erased in this version or a later one
   */
  async requireOwner(
    owner: { id: string; version: number },
    transaction: DatabaseTransaction,
  ): Promise<void> {
    const [row] = await transaction.query<{ goneVersion: number | null }>(SHARE_OWNER, [owner.id]);
    if (!row || (row.goneVersion !== null && row.goneVersion >= owner.version)) throw ownerGone(owner.id);
  }

  async insert(record: ImageRecord, transaction: DatabaseTransaction): Promise<void> {
    await transaction.query(
      INSERT,
      FIELDS.map((field) => record[field]),
    );
  }

  /** The image with this id; nobody else deletes it, or makes it an avatar, until the transaction ends. */
  async lock(id: string, transaction: DatabaseTransaction): Promise<ImageRecord | undefined> {
    const [record] = await transaction.query<ImageRecord>(LOCK, [id]);
    return record;
  }

  /** The image with this id; it is there until the transaction ends. */
  async share(id: string, transaction: DatabaseTransaction): Promise<ImageRecord | undefined> {
    const [record] = await transaction.query<ImageRecord>(SHARE, [id]);
    return record;
  }

  /** @returns whether it was another one, or none, before */
  async setAvatar(userId: string, imageId: string, transaction: DatabaseTransaction): Promise<boolean> {
    return (await transaction.query(SET_AVATAR, [userId, imageId])).length === 1;
  }

  /** @returns whether there was one */
  async clearAvatar(userId: string, transaction: DatabaseTransaction): Promise<boolean> {
    return (await transaction.query(CLEAR_AVATAR, [userId])).length === 1;
  }

  /** @returns whether the image was an avatar */
  async dropAvatar(imageId: string, transaction: DatabaseTransaction): Promise<boolean> {
    return (await transaction.query(DROP_AVATAR, [imageId])).length === 1;
  }

  /** Deletes a row, and leaves it to the removals to remove its bytes. */
  async delete(id: string, transaction: DatabaseTransaction): Promise<void> {
    await transaction.query(DELETE, [id]);
  }

  /** Lets a user have no more images, nor complete uploads, until it has a later version; waits for those being made. */
  markGone(userId: string, version: number, transaction: DatabaseTransaction): void {
    transaction.enlist(transaction.query(SET_GONE, [userId, version]));
  }

  /** Deletes all images that a user has had up to a version. @returns their ids, in batches */
  deleteOfUser(userId: string, version: number, transaction: DatabaseTransaction): AsyncGenerator<string[]> {
    return batches(() => transaction.query(DELETE_OF_USER, [userId, version, BATCH]));
  }

  /**
   * The ids, in batches, of the images of a user that were deleted while there may be events about them; they are not
   * remembered any longer.
   */
  takeDeleted(userId: string, transaction: DatabaseTransaction): AsyncGenerator<string[]> {
    return batches(() => transaction.query(TAKE_DELETED, [userId, BATCH]));
  }

  /** Forgets images that were deleted so long ago that no event is about them any more; says how many. */
  async purgeDeleted(retentionDays: number, limit: number): Promise<number> {
    return (await this.#database.query(PURGE_DELETED, [retentionDays, limit])).length;
  }
}

/** The ids that a statement gives, which is run until it gives none: others may delete some of a batch before it does. */
async function* batches(run: () => Promise<{ id: string }[]>): AsyncGenerator<string[]> {
  for (;;) {
    const rows = await run();
    if (rows.length === 0) return;
    yield rows.map(({ id }) => id);
  }
}
