import DataLoader from "dataloader";
import { QueryTypes, type ModelStatic, type Model, type Transaction } from "sequelize";
import type { CursorPosition } from "../../lib/cursor.ts";
import type { Database } from "../../lib/database.ts";
import { violatesUnique } from "../../lib/database-errors.ts";
import type { UserSort } from "./users.contract.ts";
import type { RecordChanges, UserFilter, UserRecord } from "./users.domain.ts";
import { emailTaken } from "./users.errors.ts";

type UserModel = ModelStatic<Model<UserRecord & Record<string, unknown>>>;

/** Most ids that one query looks up: keeps its duration, and so the wait of the first in the batch, short. */
const MAX_BATCH = 100;

interface SortColumn {
  /** Column or expression, exactly as in its index. */
  expression: string;
  /** Type of the cursor's value. */
  type: string;
  direction: "ASC" | "DESC";
  valueOf(record: UserRecord): string;
}

const createdAt = {
  expression: "created_at",
  type: "timestamptz",
  valueOf: (record: UserRecord) => record.createdAt.toISOString(),
};
const lastName = {
  expression: `last_name COLLATE "und-x-icu"`,
  type: "text",
  valueOf: (record: UserRecord) => record.lastName,
};

const SORTS: Readonly<Record<UserSort, SortColumn>> = {
  createdAt: { ...createdAt, direction: "ASC" },
  "-createdAt": { ...createdAt, direction: "DESC" },
  lastName: { ...lastName, direction: "ASC" },
  "-lastName": { ...lastName, direction: "DESC" },
};

const COLUMNS = `id, email, first_name AS "firstName", last_name AS "lastName", nickname, country, bio,
  image_urls AS "imageUrls", avatar_url AS "avatarUrl", role, status, version,
  created_at AS "createdAt", updated_at AS "updatedAt", deleted_at AS "deletedAt"`;

/** The only access to the table of users. */
export class UsersRepository {
  #database: Database;
  #model: UserModel;
  #loader: DataLoader<string, UserRecord | null>;

  constructor(database: Database, model: UserModel) {
    this.#database = database;
    this.#model = model;
    // Reads that arrive in the same turn of the event loop become one query. Nothing is kept: this is no cache.
    this.#loader = new DataLoader((ids) => this.#findMany(ids), {
      cache: false,
      maxBatchSize: MAX_BATCH,
      batchScheduleFn: (dispatch) => setImmediate(dispatch),
    });
  }

  /** The user with this id, deleted ones too, from the primary. */
  find(id: string): Promise<UserRecord | null> {
    return this.#loader.load(id.toLowerCase());
  }

  async #findMany(ids: readonly string[]): Promise<(UserRecord | null)[]> {
    const records = await this.#database.primary.query<UserRecord>(
      `SELECT ${COLUMNS} FROM users.users WHERE id = ANY($1::uuid[])`,
      { bind: [ids], type: QueryTypes.SELECT },
    );
    const byId = new Map(records.map((record) => [record.id, record]));
    return ids.map((id) => byId.get(id) ?? null);
  }

  /** The user, not deleted, with this normalised address, from the primary. */
  async findByEmail(email: string): Promise<UserRecord | null> {
    const record = await this.#model.findOne({ where: { email, deletedAt: null }, raw: true });
    return record as unknown as UserRecord | null;
  }

  /** Up to `limit` users after `after`, from a replica unless `fresh`. */
  async list(
    query: { filter: UserFilter; sort: UserSort; after: CursorPosition | undefined; limit: number },
    options: { fresh: boolean },
  ): Promise<UserRecord[]> {
    const { sql, bind } = listQuery(query);
    return this.#database.read(options, (server) =>
      server.query<UserRecord>(sql, { bind, type: QueryTypes.SELECT }),
    );
  }

  /** The user with this id, deleted ones too; nobody else changes it until the transaction ends. */
  async lock(id: string, transaction: Transaction): Promise<UserRecord | null> {
    const record = await this.#model.findByPk(id, { transaction, lock: transaction.LOCK.UPDATE, raw: true });
    return record as unknown as UserRecord | null;
  }

  /** @throws EMAIL_TAKEN */
  async insert(record: UserRecord, transaction: Transaction): Promise<void> {
    await refuseTakenEmail(this.#model.create({ ...record }, { transaction, returning: false }));
  }

  /**
   * Writes the changes and the next version of a record that the transaction has locked.
   *
   * @throws EMAIL_TAKEN
   */
  async update(
    current: UserRecord,
    changes: RecordChanges,
    now: Date,
    transaction: Transaction,
  ): Promise<UserRecord> {
    const next = { ...current, ...changes, version: current.version + 1, updatedAt: now };
    const { version, updatedAt } = next;
    await refuseTakenEmail(
      this.#model.update({ ...changes, version, updatedAt }, { where: { id: current.id }, transaction }),
    );
    return next;
  }

  /** Removes the row for good. */
  async remove(id: string, transaction: Transaction): Promise<void> {
    await this.#model.destroy({ where: { id }, transaction });
  }
}

/** Where the page after `record` begins. */
export function positionOf(record: UserRecord, sort: UserSort): CursorPosition {
  return [SORTS[sort].valueOf(record), record.id];
}

async function refuseTakenEmail<T>(write: Promise<T>): Promise<T> {
  try {
    return await write;
  } catch (error) {
    throw violatesUnique(error, "users_email_unique") ? emailTaken() : error;
  }
}

/** Keyset pagination: each page is one range of an index, however far into the list it is. */
function listQuery({ filter, sort, after, limit }: Parameters<UsersRepository["list"]>[0]): {
  sql: string;
  bind: unknown[];
} {
  const bind: unknown[] = [];
  const parameter = (value: unknown): string => `$${bind.push(value)}`;
  const { expression, type, direction } = SORTS[sort];

  const conditions = [filter.status === "deleted" ? "deleted_at IS NOT NULL" : "deleted_at IS NULL"];
  if (filter.status === "active" || filter.status === "suspended") {
    // Written out, so that the partial index of suspended users can be seen to apply.
    conditions.push(`status = '${filter.status}'`);
  }
  if (filter.country) conditions.push(`country = ${parameter(filter.country)}`);
  if (filter.email) conditions.push(`email = ${parameter(filter.email)}`);
  if (filter.createdAfter) conditions.push(`created_at > ${parameter(filter.createdAfter)}`);
  if (filter.createdBefore) conditions.push(`created_at < ${parameter(filter.createdBefore)}`);
  if (filter.q) conditions.push(prefixCondition(parameter(`${escapeLike(filter.q)}%`)));
  if (after) {
    const [value, id] = after;
    const comparison = direction === "ASC" ? ">" : "<";
    conditions.push(
      `(${expression}, id) ${comparison} (${parameter(value)}::${type}, ${parameter(id)}::uuid)`,
    );
  }

  const sql = `SELECT ${COLUMNS} FROM users.users WHERE ${conditions.join(" AND ")}
    ORDER BY ${expression} ${direction}, id ${direction} LIMIT ${parameter(limit)}`;
  return { sql, bind };
}

function prefixCondition(pattern: string): string {
  const lowered = `lower(${pattern} COLLATE "und-x-icu")`;
  return `(lower(first_name COLLATE "und-x-icu") LIKE ${lowered}
    OR lower(last_name COLLATE "und-x-icu") LIKE ${lowered}
    OR email LIKE ${lowered})`;
}

function escapeLike(text: string): string {
  return text.replaceAll(/[\\%_]/g, String.raw`\$&`);
}
