import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import type { Database } from "../../lib/database.ts";

/** A session that has not ended. Times are ISO 8601 in UTC. */
export interface Session {
  id: string;
  createdAt: string;
  lastUsedAt: string;
  expiresAt: string;
}

/** A refresh token, and what has become of it and of its session. */
export interface RefreshToken {
  sessionId: string;
  userId: string;
  /** Neither the token nor its session is over. */
  isLive: boolean;
  /** It was exchanged for the next one. */
  isUsed: boolean;
  /** It was so a moment ago, so that the same request may be on its way a second time. */
  isJustUsed: boolean;
  /** The next token, sealed. */
  successor: string | null;
}

const LIFE = "interval '30 days'";

/** Longer than the broker and any sensible client retries. */
const RETRY_WINDOW = "interval '1 minute'";

/** More than people have devices; without a bound a script that logs in for every request would fill the table. */
const MAX_SESSIONS_OF_USER = 100;

/** A row becomes visible after its time: as late as a transaction can be open. */
const COMMIT_DELAY = "interval '10 seconds'";

const START = {
  name: "auth.start-session",
  // The lock makes this wait for whoever is ending all sessions of the user, and then find another generation.
  text: `
    WITH account AS (
      SELECT user_id FROM auth.credentials WHERE user_id = $2 AND generation = $3 FOR SHARE
    ), session AS (
      INSERT INTO auth.sessions (id, user_id, user_version, created_at, last_used_at, expires_at)
      SELECT $1, user_id, $5, now(), now(), now() + ${LIFE} FROM account
      RETURNING id, expires_at
    )
    INSERT INTO auth.refresh_tokens (hash, session_id, expires_at) SELECT $4, id, expires_at FROM session
    RETURNING 1`,
};
const END_SURPLUS = {
  name: "auth.end-surplus-sessions",
  text: `UPDATE auth.sessions SET ended_at = clock_timestamp() WHERE ended_at IS NULL AND id IN (
      SELECT id FROM auth.sessions WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now()
      ORDER BY id DESC OFFSET ${MAX_SESSIONS_OF_USER})
    RETURNING id`,
};
const FIND_OWNER = {
  name: "auth.find-owner",
  text: `SELECT user_id AS "userId" FROM auth.refresh_tokens JOIN auth.sessions ON id = session_id WHERE hash = $1`,
};
const LOCK_TOKEN = {
  name: "auth.lock-refresh-token",
  text: `SELECT session_id AS "sessionId", user_id AS "userId", successor,
      ended_at IS NULL AND user_id IS NOT NULL AND token.expires_at > now() AS "isLive",
      rotated_at IS NOT NULL AS "isUsed",
      coalesce(rotated_at > now() - ${RETRY_WINDOW}, false) AS "isJustUsed"
    FROM auth.refresh_tokens token JOIN auth.sessions session ON session.id = session_id
    WHERE hash = $1 FOR UPDATE`,
};
const IS_UNUSED = {
  name: "auth.is-unused-refresh-token",
  text: "SELECT 1 FROM auth.refresh_tokens WHERE hash = $1 AND rotated_at IS NULL",
};
const ROTATE = {
  name: "auth.rotate-refresh-token",
  text: `
    WITH used AS (
      UPDATE auth.refresh_tokens SET rotated_at = clock_timestamp(), successor = $3 WHERE hash = $1
      RETURNING session_id
    ), session AS (
      UPDATE auth.sessions SET last_used_at = now(), expires_at = now() + ${LIFE}
      FROM used WHERE id = session_id RETURNING id, expires_at
    )
    INSERT INTO auth.refresh_tokens (hash, session_id, expires_at) SELECT $2, id, expires_at FROM session`,
};
const END = {
  name: "auth.end-session",
  text: `UPDATE auth.sessions SET ended_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL RETURNING id`,
};
const END_BY_TOKEN = {
  name: "auth.end-session-of-token",
  text: `UPDATE auth.sessions SET ended_at = clock_timestamp() WHERE ended_at IS NULL
    AND id = (SELECT session_id FROM auth.refresh_tokens WHERE hash = $1) RETURNING id`,
};
const END_ALL = {
  name: "auth.end-sessions-of-user",
  text: `UPDATE auth.sessions SET ended_at = clock_timestamp()
    WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $2 RETURNING id`,
};
const END_OLDER = {
  name: "auth.end-older-sessions",
  text: `UPDATE auth.sessions SET ended_at = clock_timestamp()
    WHERE user_id = $1 AND ended_at IS NULL AND coalesce(user_version < $2, true)`,
};
const LIST = {
  name: "auth.list-sessions",
  text: `SELECT id, created_at AS "createdAt", last_used_at AS "lastUsedAt", expires_at AS "expiresAt"
    FROM auth.sessions WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now() ORDER BY id`,
};
const ANONYMISE = {
  name: "auth.anonymise-sessions",
  // Only those that have not ended have an index by user. Those that have are few, as they are not kept for long.
  text: "UPDATE auth.sessions SET user_id = NULL WHERE user_id = $1 AND ended_at IS NOT NULL",
};
const ENDED_SINCE = {
  name: "auth.sessions-ended-since",
  text: `SELECT clock_timestamp() AS until, ARRAY(SELECT id FROM auth.sessions
      WHERE ended_at > coalesce($1::timestamptz, now() - $2 * interval '1 second') - ${COMMIT_DELAY}) AS "sessionIds"`,
};

const DELETE_OVER_SESSIONS = {
  name: "auth.delete-over-sessions",
  // Ended ones are kept for as long as their access tokens would be valid.
  text: `DELETE FROM auth.sessions WHERE id IN (
      SELECT id FROM auth.sessions WHERE expires_at < now() OR ended_at < now() - interval '1 hour'
      LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING 1`,
};
const DELETE_OVER_TOKENS = {
  name: "auth.delete-over-refresh-tokens",
  text: `DELETE FROM auth.refresh_tokens WHERE hash IN (
      SELECT hash FROM auth.refresh_tokens WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING 1`,
};

const idsOf = (rows: { id: string }[]): string[] => rows.map(({ id }) => id);

/** The only access to the tables of sessions and refresh tokens. */
export class SessionsRepository {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Starts a session, unless all sessions of the user have ended since `generation` was read. */
  async start(session: {
    id: string;
    userId: string;
    userVersion: number;
    generation: number;
    tokenHash: Buffer;
  }): Promise<boolean> {
    const { id, userId, userVersion, generation, tokenHash } = session;
    const values = [id, userId, generation, tokenHash, userVersion];
    return (await this.#database.query(START, values)).length > 0;
  }

  /** Ends the oldest sessions of a user who has too many; returns their ids. */
  async endSurplus(userId: string): Promise<string[]> {
    return idsOf(await this.#database.query(END_SURPLUS, [userId]));
  }

  /** The user whose session a refresh token belongs to, over or not. */
  async findOwner(tokenHash: Buffer): Promise<string | undefined> {
    const [row] = await this.#database.query<{ userId: string | null }>(FIND_OWNER, [tokenHash]);
    return row?.userId ?? undefined;
  }

  /** Locks a refresh token with its session. */
  async lockToken(tokenHash: Buffer, transaction: DatabaseTransaction): Promise<RefreshToken | undefined> {
    const [row] = await transaction.query<RefreshToken>(LOCK_TOKEN, [tokenHash]);
    return row;
  }

  async isUnused(tokenHash: Buffer, transaction: DatabaseTransaction): Promise<boolean> {
    return (await transaction.query(IS_UNUSED, [tokenHash])).length > 0;
  }

  /** Puts another token in the place of one. */
  async rotate(
    token: { hash: Buffer; successorHash: Buffer; sealedSuccessor: string },
    transaction: DatabaseTransaction,
  ): Promise<void> {
    await transaction.query(ROTATE, [token.hash, token.successorHash, token.sealedSuccessor]);
  }

  /** Ends a session that has not ended; returns its id, or nothing. */
  async end(id: string, transaction?: DatabaseTransaction): Promise<string[]> {
    return idsOf(await (transaction ?? this.#database).query(END, [id]));
  }

  /** The same by a refresh token of it. */
  async endByToken(tokenHash: Buffer): Promise<string[]> {
    return idsOf(await this.#database.query(END_BY_TOKEN, [tokenHash]));
  }

  /** Ends the sessions of a user but one; returns their ids. Change the user's password or its generation before. */
  async endAll(
    userId: string,
    except: string | undefined,
    transaction: DatabaseTransaction,
  ): Promise<string[]> {
    return idsOf(await transaction.query(END_ALL, [userId, except]));
  }

  /** Ends the sessions of a user that have begun before it had this version. */
  async endOlder(userId: string, version: number, transaction: DatabaseTransaction): Promise<void> {
    await transaction.query(END_OLDER, [userId, version]);
  }

  list(userId: string): Promise<Session[]> {
    return this.#database.query<Session & Record<string, unknown>>(LIST, [userId]);
  }

  /** What is left of ended sessions says nothing of whose they were. End them before. */
  async anonymise(userId: string, transaction: DatabaseTransaction): Promise<void> {
    await transaction.query(ANONYMISE, [userId]);
  }

  /** Sessions that ended after `since` or, without it, within `lifeSeconds`. May repeat some. */
  async endedSince(
    since: string | undefined,
    lifeSeconds: number,
  ): Promise<{ sessionIds: string[]; until: string }> {
    const [row] = await this.#database.query<{ sessionIds: string[]; until: string }>(ENDED_SINCE, [
      since,
      lifeSeconds,
    ]);
    if (!row) throw new Error("A statement without FROM gives one row.");
    return row;
  }

  /** Deletes sessions that are over, with their tokens; says how many. */
  async deleteOver(limit: number): Promise<number> {
    return (await this.#database.query(DELETE_OVER_SESSIONS, [limit])).length;
  }

  /** Deletes tokens that can no longer be used or reused; says how many. */
  async deleteOverTokens(limit: number): Promise<number> {
    return (await this.#database.query(DELETE_OVER_TOKENS, [limit])).length;
  }
}
