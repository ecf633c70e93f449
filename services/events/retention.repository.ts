import type { Database } from "../../lib/database.ts";

/** Deletes up to `limit` rows, and says how many there were. */
export type Deletion = (database: Database, limit: number) => Promise<number>;

const MARK = {
  text: `
    INSERT INTO events.published_mark (sequence, reached_at)
    SELECT sequence, now() FROM events.log
    WHERE sequence = (SELECT CASE WHEN $1 THEN published ELSE head END FROM events.relay)
    ON CONFLICT DO NOTHING`,
};
// Also up to where events are published now, as a replay may have begun.
const DELETE_OLD = {
  text: `
    DELETE FROM events.log
    WHERE sequence IN (SELECT sequence FROM events.log ORDER BY sequence LIMIT $1)
      AND sequence <= (SELECT CASE WHEN $2 THEN published ELSE head END FROM events.relay)
      AND sequence <= (
        SELECT max(sequence) FROM events.published_mark WHERE reached_at < now() - make_interval(days => $3)
      )
    RETURNING 1`,
};

/**
 * Notes how far events are published, and deletes from the start of the log, so that it never has a gap, those that
 * were published so many days ago; where nothing is published, those that are in the log for so long.
 */
export function oldEvents({ days, isPublished }: { days: number; isPublished: boolean }): Deletion {
  return async (database, limit) => {
    await database.query(MARK, [isPublished]);
    return (await database.query(DELETE_OLD, [limit, isPublished, days])).length;
  };
}

const DELETE_MARKS = {
  text: `
    DELETE FROM events.published_mark WHERE sequence IN (
      SELECT sequence FROM events.published_mark WHERE sequence < (SELECT min(sequence) FROM events.log) LIMIT $1
    ) RETURNING 1`,
};

/** Forgets when events were published that the log no longer has. */
export const oldMarks: Deletion = async (database, limit) =>
  (await database.query(DELETE_MARKS, [limit])).length;

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
