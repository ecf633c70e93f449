import { DatabaseError, type Pool } from "pg";
import { v7 as uuidv7, validate as isUuid } from "uuid";

export interface NewUser {
  email: string;
  firstName: string;
  lastName: string;
  nickname?: string | null;
  country?: string | null;
  bio?: string | null;
}

export interface User extends Required<NewUser> {
  id: string;
  imageUrls: string[];
  avatarUrl: string | null;
  role: string;
  status: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export interface Page {
  data: User[];
  nextCursor: string | null;
}

/** A request that cannot be done as it is. Fastify answers with the status code of an error. */
export class RefusedError extends Error {
  readonly statusCode: number;

  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

const UNIQUE_VIOLATION = "23505";

/** Named as the API names them, so that a row is a response without any mapping. */
const COLUMNS = `
  id, email, first_name AS "firstName", last_name AS "lastName", nickname, country, bio, image_urls AS "imageUrls",
  avatar_url AS "avatarUrl", role, status, version, created_at AS "createdAt", updated_at AS "updatedAt"`;

// Named statements are parsed and planned once for each connection.
const GET = { name: "get", text: `SELECT ${COLUMNS} FROM users.users WHERE id = $1 AND deleted_at IS NULL` };

const FIRST_PAGE = {
  name: "first-page",
  text: `SELECT ${COLUMNS} FROM users.users WHERE deleted_at IS NULL
    ORDER BY created_at DESC, id DESC LIMIT $1`,
};

const NEXT_PAGE = {
  name: "next-page",
  text: `SELECT ${COLUMNS} FROM users.users WHERE deleted_at IS NULL AND (created_at, id) < ($2, $3)
    ORDER BY created_at DESC, id DESC LIMIT $1`,
};

// One statement is one transaction: both rows or neither, in one round trip instead of four.
const CREATE = {
  name: "create",
  text: `
    WITH created AS (
      INSERT INTO users.users (id, email, first_name, last_name, nickname, country, bio, created_at, updated_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
    )
    INSERT INTO events.outbox (id, type, subject, data, actor, request_id, changed_fields, occurred_at)
    VALUES ($9, 'user-created_v1', $1, $10, 'anonymous', $11, '{}', $8)`,
};

/** The queries of the peer. */
export function createUserStore(pool: Pool) {
  async function create(input: NewUser, requestId: string): Promise<User> {
    const now = new Date();
    const user: User = {
      id: uuidv7(),
      email: input.email.trim().toLowerCase(),
      firstName: input.firstName,
      lastName: input.lastName,
      nickname: input.nickname ?? null,
      country: input.country ?? null,
      bio: input.bio ?? null,
      imageUrls: [],
      avatarUrl: null,
      role: "user",
      status: "active",
      version: 1,
      createdAt: now,
      updatedAt: now,
    };
    const { id, email, firstName, lastName, nickname, country, bio } = user;
    const row = [id, email, firstName, lastName, nickname, country, bio, now];
    try {
      await pool.query({ ...CREATE, values: [...row, uuidv7(), JSON.stringify(user), requestId] });
    } catch (error) {
      const isTaken = error instanceof DatabaseError && error.code === UNIQUE_VIOLATION;
      throw isTaken ? new RefusedError(409, "Email taken") : error;
    }
    return user;
  }

  async function get(id: string): Promise<User | undefined> {
    const { rows } = await pool.query<User>({ ...GET, values: [id] });
    return rows[0];
  }

  async function list(limit: number, cursor: string | undefined): Promise<Page> {
    // One row more than asked for says whether there is a next page.
    const query = cursor
      ? { ...NEXT_PAGE, values: [limit + 1, ...decodeCursor(cursor)] }
      : { ...FIRST_PAGE, values: [limit + 1] };
    const { rows } = await pool.query<User>(query);
    if (rows.length <= limit) return { data: rows, nextCursor: null };
    const data = rows.slice(0, limit);
    return { data, nextCursor: encodeCursor(data[limit - 1] as User) };
  }

  return { create, get, list };
}

function encodeCursor({ createdAt, id }: User): string {
  return Buffer.from(`${createdAt.toISOString()}|${id}`).toString("base64url");
}

function decodeCursor(cursor: string): [createdAt: string, id: string] {
  const [createdAt = "", id = ""] = Buffer.from(cursor, "base64url").toString().split("|");
  if (Number.isNaN(Date.parse(createdAt)) || !isUuid(id)) throw new RefusedError(400, "Invalid cursor");
  return [createdAt, id];
}
