import DataLoader from "dataloader";
import type { Model, ModelStatic } from "sequelize";
import type { CursorPosition } from "../../lib/cursor.ts";
import type { DatabaseTransaction, Statement } from "../../lib/database-connection.ts";
import type { Database } from "../../lib/database.ts";
import { violatesUnique } from "../../lib/database-errors.ts";
import type { UserSort } from "./users.contract.ts";
import type { UserFilter, UserRecord } from "./users.domain.ts";
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

const BY_CREATED_AT = {
  expression: "created_at",
  type: "timestamptz",
  valueOf: (record: UserRecord) => record.createdAt,
};
const BY_LAST_NAME = {
  expression: `last_name COLLATE "und-x-icu"`,
  type: "text",
  valueOf: (record: UserRecord) => record.lastName,
};

const SORTS: Readonly<Record<UserSort, SortColumn>> = {
  createdAt: { ...BY_CREATED_AT, direction: "ASC" },
  "-createdAt": { ...BY_CREATED_AT, direction: "DESC" },
  lastName: { ...BY_LAST_NAME, direction: "ASC" },
  "-lastName": { ...BY_LAST_NAME, direction: "DESC" },
};

/** The column of each field. */
const COLUMN_OF: Readonly<Record<keyof UserRecord, string>> = {
  id: "id",
  email: "email",
  firstName: "first_name",
  lastName: "last_name",
  nickname: "nickname",
  country: "country",
  bio: "bio",
  imageUrls: "image_urls",
  avatarUrl: "avatar_url",
  role: "role",
  status: "status",
  version: "version",
  createdAt: "created_at",
  updatedAt: "updated_at",
  deletedAt: "deleted_at",
};
const FIELDS = Object.keys(COLUMN_OF) as (keyof UserRecord)[];
const COLUMNS = Object.values(COLUMN_OF).join(", ");
const PARAMETERS = FIELDS.map((_field, index) => `$${index + 1}`).join(", ");

/** A row under the names of the fields. */
const ROW = FIELDS.map((field) => `${COLUMN_OF[field]} AS "${field}"`).join(", ");

const FIND = { name: "users.find", text: `SELECT ${ROW} FROM users.users WHERE id = ANY($1)` };
const FIND_BY_EMAIL = {
  name: "users.find-by-email",
  text: `SELECT ${ROW} FROM users.users WHERE email = $1 AND deleted_at IS NULL`,
};
const FIND_MISSING = {
  name: "users.find-missing",
  text: "SELECT id FROM unnest($1::uuid[]) AS wanted (id) EXCEPT SELECT id FROM users.users",
};
const LOCK = { name: "users.lock", text: `SELECT ${ROW} FROM users.users WHERE id = $1 FOR UPDATE` };

const INSERT = { name: "users.insert", text: `INSERT INTO users.users (${COLUMNS}) VALUES (${PARAMETERS})` };
const UPDATE = {
  name: "users.update",
  text: `UPDATE users.users SET (${COLUMNS}) = ROW (${PARAMETERS}) WHERE id = $1`,
};

/** In the order of the columns. */
const valuesOf = (record: UserRecord): unknown[] => FIELDS.map((field) => record[field]);

/** A page to be read. */
interface ListQuery {
  filter: UserFilter;
  sort: UserSort;
  /** Where the page before ended. */
  after: CursorPosition | undefined;
  limit: number;
}

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
    const records = await this.#database.query<UserRecord>(FIND, [ids]);
    const byId = new Map(records.map((record) => [record.id, record]));
    return ids.map((id) => byId.get(id) ?? null);
  }

  /** The user, not deleted, with this normalised address, from the primary. */
  async findByEmail(email: string): Promise<UserRecord | null> {
    const [record] = await this.#database.query<UserRecord>(FIND_BY_EMAIL, [email]);
    return record ?? null;
  }

  /** Which of these ids no user has, not even a deleted one. */
  async findMissing(ids: readonly string[]): Promise<string[]> {
    const rows = await this.#database.query<{ id: string }>(FIND_MISSING, [ids]);
    return rows.map(({ id }) => id);
  }

  /** Up to `limit` users after `after`, from a replica unless `fresh`. */
  list(query: ListQuery, options: { fresh: boolean }): Promise<UserRecord[]> {
    const { statement, values } = listStatement(query);
    return this.#database.read<UserRecord>(options, statement, values);
  }

  /** The user with this id, deleted ones too; nobody else changes it until the transaction ends. */
  async lock(id: string, transaction: DatabaseTransaction): Promise<UserRecord | null> {
    const [record] = await transaction.query<UserRecord>(LOCK, [id]);
    return record ?? null;
  }

  /** @throws EMAIL_TAKEN */
  async insert(record: UserRecord, transaction: DatabaseTransaction): Promise<void> {
    await refuseTakenEmail(transaction.query(INSERT, valuesOf(record)));
  }

  /**
   * Writes a record that the transaction has locked.
   *
   * @throws EMAIL_TAKEN
   */
  async update(record: UserRecord, transaction: DatabaseTransaction): Promise<void> {
    await refuseTakenEmail(transaction.query(UPDATE, valuesOf(record)));
  }

  /** Removes the row for good. */
  async remove(id: string, { forModels: transaction }: DatabaseTransaction): Promise<void> {
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
function listStatement({ filter, sort, after, limit }: ListQuery): {
  statement: Statement;
  values: unknown[];
} {
  const values: unknown[] = [];
  const parameter = (value: unknown): string => `$${values.push(value)}`;
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

  const text = `SELECT ${ROW} FROM users.users WHERE ${conditions.join(" AND ")}
    ORDER BY ${expression} ${direction}, id ${direction} LIMIT ${parameter(limit)}`;
  // With filters the best plan depends on their values, so only the plain list is planned once.
  const isPlain = Object.keys(filter).length === 0;
  const name = `users.list ${sort} ${after ? "next" : "first"}`;
  return { statement: isPlain ? { name, text } : { text }, values };
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
