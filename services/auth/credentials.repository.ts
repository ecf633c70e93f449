import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { Database } from "../../lib/database.ts";

/** What a user logs in with. */
export interface Credential {
  passwordHash: string;
  /** Grows when all sessions of the user end. */
  generation: number;
  /** ISO 8601 in UTC. */
  changedAt: string;
}

const FIND = {
  name: "auth.find-credential",
  text: `SELECT password_hash AS "passwordHash", generation, changed_at AS "changedAt"
    FROM auth.credentials WHERE user_id = $1`,
};
const ADD = {
  name: "auth.add-credential",
  text: `INSERT INTO auth.credentials (user_id, password_hash, changed_at) VALUES ($1, $2, clock_timestamp())
    ON CONFLICT (user_id) DO NOTHING RETURNING 1`,
};
const SET = {
  name: "auth.set-credential",
  text: `INSERT INTO auth.credentials AS old (user_id, password_hash, changed_at) VALUES ($1, $2, clock_timestamp())
    ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash,
      changed_at = excluded.changed_at, generation = old.generation + 1`,
};
const CHANGE = {
  name: "auth.change-credential",
  text: `UPDATE auth.credentials SET password_hash = $3, changed_at = clock_timestamp(), generation = generation + 1
    WHERE user_id = $1 AND password_hash = $2 RETURNING 1`,
};
const REHASH = {
  name: "auth.rehash-credential",
  text: "UPDATE auth.credentials SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2",
};
const DELETE = { name: "auth.delete-credential", text: "DELETE FROM auth.credentials WHERE user_id = $1" };
const ADVANCE = {
  name: "auth.advance-generation",
  text: "UPDATE auth.credentials SET generation = generation + 1 WHERE user_id = $1",
};

const EXIST_ANY = { name: "auth.exist-any-credentials", text: "SELECT FROM auth.credentials LIMIT 1" };
const LIST_UNCONFIRMED = {
  name: "auth.list-unconfirmed-credentials",
  // A user who is being created appears within seconds.
  text: `SELECT user_id AS "userId" FROM auth.credentials
    WHERE confirmed_at IS NULL AND changed_at < now() - interval '1 hour' ORDER BY changed_at LIMIT $1`,
};
const CONFIRM_OR_DELETE = {
  name: "auth.confirm-or-delete-credentials",
  text: `
    WITH deleted AS (DELETE FROM auth.credentials WHERE user_id = ANY($2::uuid[]))
    UPDATE auth.credentials SET confirmed_at = now() WHERE user_id = ANY($1::uuid[]) AND user_id <> ALL($2::uuid[])`,
};

/** The only access to the table of passwords. */
export class CredentialsRepository {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async find(userId: string): Promise<Credential | undefined> {
    const [row] = await this.#database.query<Credential>(FIND, [userId]);
    return row;
  }

  /** Does nothing for a user who has a password. */
  async add(userId: string, passwordHash: string): Promise<boolean> {
    return (await this.#database.query(ADD, [userId, passwordHash])).length > 0;
  }

  /** Replaces the password of a user who has one. */
  async set(userId: string, passwordHash: string, transaction: DatabaseTransaction): Promise<void> {
    await transaction.query(SET, [userId, passwordHash]);
  }

  /** Replaces one hash by another, unless somebody else was faster; says whether it did. */
  async change(
    userId: string,
    { from, to }: { from: string; to: string },
    transaction: DatabaseTransaction,
  ): Promise<boolean> {
    return (await transaction.query(CHANGE, [userId, from, to])).length > 0;
  }

  /** The same password at another cost. */
  async rehash(userId: string, { from, to }: { from: string; to: string }): Promise<void> {
    await this.#database.query(REHASH, [userId, from, to]);
  }

  /** Locks the password of a user, and makes logins that have begun come to nothing. */
  async advanceGeneration(userId: string, transaction: DatabaseTransaction): Promise<void> {
    await transaction.query(ADVANCE, [userId]);
  }

  async delete(userId: string, transaction: DatabaseTransaction): Promise<void> {
    await transaction.query(DELETE, [userId]);
  }

  /** Whether anybody has a password. */
  async existAny(): Promise<boolean> {
    return (await this.#database.query(EXIST_ANY, [])).length > 0;
  }

  /** Users of whom it is not known yet whether they were created after their password was set. */
  async listUnconfirmed(limit: number): Promise<string[]> {
    const rows = await this.#database.query<{ userId: string }>(LIST_UNCONFIRMED, [limit]);
    return rows.map(({ userId }) => userId);
  }

  async confirmOrDelete(userIds: readonly string[], missing: readonly string[]): Promise<void> {
    await this.#database.query(CONFIRM_OR_DELETE, [userIds, missing]);
  }
}
