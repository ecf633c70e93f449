import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { Database } from "../../lib/database.ts";
import type { Visibility } from "../../lib/media-path.ts";

/** An upload for which the client sends the bytes to the storage itself. */
export interface DirectUploadRecord {
  id: string;
  userId: string;
  visibility: Visibility;
  bytes: number;
}

interface NewDirectUpload extends DirectUploadRecord {
  /** The version of the user that it is begun for. */
  userVersion: number;
}

/** From the start of an upload to its completion; its URL ends much earlier. */
export const COMPLETION_MINUTES = 60;

const START = {
  name: "uploads.start",
  text: `INSERT INTO images.uploads (id, user_id, user_version, visibility, bytes, expires_at)
    VALUES ($1, $2, $3, $4, $5, now() + interval '${COMPLETION_MINUTES} minutes')`,
};
const FIND = {
  name: "uploads.find",
  text: `SELECT id, user_id AS "userId", visibility, bytes FROM images.uploads
    WHERE id = $1 AND user_id = $2 AND expires_at > now()`,
};
const COMPLETE = { name: "uploads.complete", text: "DELETE FROM images.uploads WHERE id = $1 RETURNING 1" };
const DELETE_OF_USER = {
  name: "uploads.delete-of-user",
  text: "DELETE FROM images.uploads WHERE user_id = $1 AND user_version <= $2 RETURNING id",
};
const DELETE_EXPIRED = {
  name: "uploads.delete-expired",
  text: `DELETE FROM images.uploads WHERE id IN (
      SELECT id FROM images.uploads WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING 1`,
};

/** The uploads that clients have begun and not completed. */
export class UploadsRepository {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async start(
    { id, userId, userVersion, visibility, bytes }: NewDirectUpload,
    transaction: DatabaseTransaction,
  ): Promise<void> {
    await transaction.query(START, [id, userId, userVersion, visibility, bytes]);
  }

  async find(id: string, userId: string): Promise<DirectUploadRecord | undefined> {
    const [record] = await this.#database.query<DirectUploadRecord>(FIND, [id, userId]);
    return record;
  }

  /** @returns false when it is completed already, or its time is over */
  async complete(id: string, transaction: DatabaseTransaction): Promise<boolean> {
    return (await transaction.query(COMPLETE, [id])).length === 1;
  }

  /** Deletes those that a user has begun up to a version. @returns their ids */
  async deleteOfUser(userId: string, version: number, transaction: DatabaseTransaction): Promise<string[]> {
    const rows = await transaction.query<{ id: string }>(DELETE_OF_USER, [userId, version]);
    return rows.map(({ id }) => id);
  }

  /** Deletes those whose time is over; says how many. */
  async deleteExpired(limit: number): Promise<number> {
    return (await this.#database.query(DELETE_EXPIRED, [limit])).length;
  }
}
