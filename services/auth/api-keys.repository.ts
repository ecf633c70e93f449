import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { Database } from "../../lib/database.ts";
import type { ApiKey } from "./auth.contract.ts";

/** An API key as it is stored. */
export interface ApiKeyRecord extends ApiKey {
  /** SHA-256 of the whole key. */
  hash: Buffer;
  previousHash: Buffer | null;
}

/** An API key that may be used, and how long ago it was. */
export type UsableApiKey = ApiKeyRecord & { isPreviousValid: boolean; isTouchDue: boolean };

const COLUMN_OF: Readonly<Record<keyof ApiKeyRecord, string>> = {
  id: "id",
  name: "name",
  prefix: "prefix",
  scopes: "scopes",
  hash: "hash",
  previousHash: "previous_hash",
  previousValidUntil: "previous_valid_until",
  createdAt: "created_at",
  expiresAt: "expires_at",
  lastUsedAt: "last_used_at",
  revokedAt: "revoked_at",
};
const FIELDS = Object.keys(COLUMN_OF) as (keyof ApiKeyRecord)[];
const ROW = FIELDS.map((field) => `${COLUMN_OF[field]} AS "${field}"`).join(", ");
const COLUMNS = Object.values(COLUMN_OF).join(", ");
const PARAMETERS = FIELDS.map((_field, index) => `$${index + 1}`).join(", ");

const INSERT = {
  name: "auth.insert-api-key",
  text: `INSERT INTO auth.api_keys (${COLUMNS}) VALUES (${PARAMETERS})`,
};
const LOCK = {
  name: "auth.lock-api-key",
  text: `SELECT ${ROW} FROM auth.api_keys WHERE id = $1 AND revoked_at IS NULL FOR UPDATE`,
};
const ROTATE = {
  name: "auth.rotate-api-key",
  text: "UPDATE auth.api_keys SET hash = $2, previous_hash = $3, previous_valid_until = $4 WHERE id = $1",
};
const REVOKE = {
  name: "auth.revoke-api-key",
  text: "UPDATE auth.api_keys SET revoked_at = $2 WHERE id = $1",
};
const LIST = {
  name: "auth.list-api-keys",
  text: `SELECT ${ROW} FROM auth.api_keys WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`,
};
const FIND_USABLE = {
  name: "auth.find-usable-api-key",
  text: `SELECT ${ROW}, coalesce(previous_valid_until > now(), false) AS "isPreviousValid",
      coalesce(last_used_at < now() - interval '1 minute', true) AS "isTouchDue"
    FROM auth.api_keys
    WHERE prefix = $1 AND revoked_at IS NULL AND coalesce(expires_at > now(), true)`,
};
const TOUCH = {
  name: "auth.touch-api-key",
  // The condition is for the nodes that come to this at the same time.
  text: `UPDATE auth.api_keys SET last_used_at = now()
    WHERE id = $1 AND coalesce(last_used_at < now() - interval '1 minute', true)`,
};

/** The only access to the table of API keys. */
export class ApiKeysRepository {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async insert(record: ApiKeyRecord, transaction: DatabaseTransaction): Promise<void> {
    await transaction.query(
      INSERT,
      FIELDS.map((field) => record[field]),
    );
  }

  /** Locks a key that is not revoked. */
  async lock(id: string, transaction: DatabaseTransaction): Promise<ApiKeyRecord | undefined> {
    const [row] = await transaction.query<ApiKeyRecord & Record<string, unknown>>(LOCK, [id]);
    return row;
  }

  /** Stores the hashes of a key. */
  async rotate(record: ApiKeyRecord, transaction: DatabaseTransaction): Promise<void> {
    const { id, hash, previousHash, previousValidUntil } = record;
    await transaction.query(ROTATE, [id, hash, previousHash, previousValidUntil]);
  }

  async revoke(id: string, now: Date, transaction: DatabaseTransaction): Promise<void> {
    await transaction.query(REVOKE, [id, now]);
  }

  /** The newest first. */
  list({ after, limit }: { after: string | undefined; limit: number }): Promise<ApiKeyRecord[]> {
    return this.#database.query<ApiKeyRecord & Record<string, unknown>>(LIST, [after, limit]);
  }

  /** A key that is neither revoked nor expired. */
  async findUsable(prefix: string): Promise<UsableApiKey | undefined> {
    const [row] = await this.#database.query<UsableApiKey & Record<string, unknown>>(FIND_USABLE, [prefix]);
    return row;
  }

  /** Notes that a key was used, at most once a minute. */
  async touch(id: string): Promise<void> {
    await this.#database.query(TOUCH, [id]);
  }
}
