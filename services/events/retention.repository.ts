import type { Database } from "../../lib/database.ts";

/** Deletes up to `limit` rows, and says how many there were. */
export type Deletion = (database: Database, limit: number) => Promise<number>;

// One bound, so that only the rows to be deleted are looked at.
const DELETE_OLD = {
  text: `
    WITH oldest AS (SELECT sequence, occurred_at FROM events.log ORDER BY sequence LIMIT $1),
    too_old AS (
      SELECT least(max(sequence),
        min(sequence) FILTER (WHERE occurred_at > now() - make_interval(days => $3)) - 1) AS last
      FROM oldest
    )
    DELETE FROM events.log WHERE sequence <= (
      SELECT least(too_old.last, CASE WHEN $2 THEN relay.published ELSE relay.head END) FROM too_old, events.relay
    ) RETURNING 1`,
};

/**
 * Deletes from the start of the log, so that it never has a gap: what is older than `days`, up to the first that is not
 * and, where events are published, up to the first that is not published.
 */
export function oldEvents({ days, isPublished }: { days: number; isPublished: boolean }): Deletion {
  return async (database, limit) => (await database.query(DELETE_OLD, [limit, isPublished, days])).length;
}

const OLDEST = {
  text: `SELECT coalesce((SELECT min(sequence) FROM events.log), head + 1)::float8 AS oldest FROM events.relay`,
};
// The number is a value of its own: only then does PostgreSQL know that few rows are below it, and not read all of them.
const DELETE_HANDLED = {
  text: `
    DELETE FROM events.inbox WHERE ctid IN (
      SELECT ctid FROM events.inbox WHERE sequence < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING 1`,
};

/** Forgets that events were handled which the log no longer has: they cannot be delivered again. */
export const handledEvents: Deletion = async (database, limit) => {
  const [row] = await database.query<{ oldest: number }>(OLDEST, []);
  return (await database.query(DELETE_HANDLED, [row?.oldest, limit])).length;
};

const DELETE_DEAD_LETTERS = {
  text: `
    DELETE FROM events.dead_letter WHERE ctid IN (
      SELECT ctid FROM events.dead_letter
      WHERE last_failed_at < now() - make_interval(days => $1) AND replay_requested_at IS NULL
      LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING 1`,
};

/** Deletes dead letters whose last attempt was so long ago, whether they were handled after all or not. */
export function oldDeadLetters(days: number): Deletion {
  return async (database, limit) => (await database.query(DELETE_DEAD_LETTERS, [days, limit])).length;
}

const DELETE_RESULTS = {
  text: `DELETE FROM events.idempotency WHERE ctid IN
    (SELECT ctid FROM events.idempotency WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING 1`,
};

/** Deletes idempotency records whose time is over. */
export const expiredResults: Deletion = async (database, limit) =>
  (await database.query(DELETE_RESULTS, [limit])).length;
