import { LOGGED_EVENT_COLUMNS, type CloudEvent, type LoggedEvent } from "../lib/cloud-event.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import type { Database } from "../lib/database.ts";

const REGISTER = {
  text: `
    WITH known AS (SELECT EXISTS (SELECT FROM events.consumer WHERE name = $1) AS is_known),
    registered AS (INSERT INTO events.consumer (name, position) VALUES ($1, 0) ON CONFLICT DO NOTHING),
    forgotten AS (DELETE FROM events.subscription WHERE consumer = $1 AND type <> ALL ($2)),
    subscribed AS (
      INSERT INTO events.subscription (consumer, type, start_after)
      SELECT $1, type, CASE WHEN $3 AND NOT is_known THEN 0 ELSE head END
      FROM unnest($2::text[]) AS type, known, events.relay
      ON CONFLICT DO NOTHING RETURNING start_after
    )
    SELECT least(
      (SELECT min(start_after) FROM subscribed),
      (SELECT min(start_after) FROM events.subscription WHERE consumer = $1 AND type = ANY ($2))
    )::float8 AS "startAfter"`,
};

/**
 * Makes a consumer known, with where it begins. A type that is added to a known consumer begins now.
 *
 * @returns the number up to which no event is for it
 */
export async function register(
  database: Database,
  consumer: string,
  types: readonly string[],
  startFrom: "beginning" | "now",
): Promise<number> {
  const [row] = await database.query<{ startAfter: number }>(REGISTER, [
    consumer,
    types,
    startFrom === "beginning",
  ]);
  return row?.startAfter ?? 0;
}

const SUBJECT_LOCK = `hashtextextended(concat_ws(E'\\n', 'durable consumer', $1::text, $2::text), 0)`;
const TRY_LOCK = {
  name: "durable-consumer.try-lock",
  text: `SELECT pg_try_advisory_xact_lock(${SUBJECT_LOCK}) AS "isOurs"`,
};
const LOCK = { name: "durable-consumer.lock", text: `SELECT pg_advisory_xact_lock(${SUBJECT_LOCK})` };

const NEXT = {
  name: "durable-consumer.next",
  text: `
    SELECT ${LOGGED_EVENT_COLUMNS}, coalesce(attempts, 0) AS attempts, "errorType", "errorMessage",
      coalesce(greatest(extract(epoch FROM not_before - clock_timestamp()) * 1000, 0), 0)::float8 AS "waitMs"
    FROM (
      SELECT log.* FROM events.log JOIN events.subscription AS begun ON begun.consumer = $1 AND begun.type = log.type
      WHERE log.subject = $2 AND log.sequence <= $3 AND log.sequence > begun.start_after
        AND log.sequence >
          coalesce((SELECT max(sequence) FROM events.inbox WHERE consumer = $1 AND subject = $2), 0)
      ORDER BY log.sequence LIMIT 1
    ) AS log
    LEFT JOIN LATERAL (
      SELECT attempts, not_before, error_type AS "errorType", error_message AS "errorMessage"
      FROM events.retry WHERE consumer = $1 AND retry.subject = $2 AND event_id = log.id
    ) AS failed ON true`,
};

/** An event that a consumer has yet to handle. */
export type PendingEvent = LoggedEvent & {
  /** How often that has failed. */
  attempts: number;
  /** The last failure. */
  errorType: string | null;
  errorMessage: string | null;
  /** How long it must wait for its next attempt. */
  waitMs: number;
};

/**
 * The first event of a subject, up to a number, that the consumer has not handled, also of a type that only a newer
 * instance knows. The subject is the caller's until the transaction ends.
 *
 * @returns "busy" while another transaction has the subject, undefined when everything is handled
 */
export async function findNext(
  transaction: DatabaseTransaction,
  consumer: string,
  { subject, through }: { subject: string; through: number },
): Promise<PendingEvent | "busy" | undefined> {
  // A statement of its own, sent together: the look must see what was committed before the lock was ours.
  const [[lock], [next]] = await Promise.all([
    transaction.query<{ isOurs: boolean }>(TRY_LOCK, [consumer, subject]),
    transaction.query<PendingEvent>(NEXT, [consumer, subject, through]),
  ]);
  return lock?.isOurs ? next : "busy";
}

const HANDLED = {
  name: "durable-consumer.handled",
  text: `
    WITH cleared AS (DELETE FROM events.retry WHERE consumer = $1 AND subject = $3)
    INSERT INTO events.inbox (consumer, event_id, subject, sequence) VALUES ($1, $2, $3, $4)`,
};

/** Remembers that an event is handled. */
export async function markHandled(
  transaction: DatabaseTransaction,
  consumer: string,
  { id, subject, sequence }: LoggedEvent,
): Promise<void> {
  await transaction.query(HANDLED, [consumer, id, subject, sequence]);
}

/** Why an attempt failed. */
export interface Failure {
  attempts: number;
  errorType: string;
  errorMessage: string;
}

const RETRY = {
  name: "durable-consumer.retry",
  text: `
    INSERT INTO events.retry AS known (consumer, subject, event_id, attempts, error_type, error_message,
      first_failed_at, last_failed_at, not_before)
    SELECT $1, $2, $3, $4, $5, $6, now(), now(), now() + $7 * interval '1 millisecond'
    WHERE NOT EXISTS (SELECT FROM events.inbox WHERE consumer = $1 AND event_id = $3)
    ON CONFLICT (consumer, subject) DO UPDATE SET event_id = excluded.event_id, attempts = excluded.attempts,
      error_type = excluded.error_type, error_message = excluded.error_message,
      first_failed_at =
        CASE WHEN known.event_id = excluded.event_id THEN known.first_failed_at ELSE excluded.first_failed_at END,
      last_failed_at = excluded.last_failed_at, not_before = excluded.not_before`,
};

/** Remembers a failed attempt; the subject waits for `retryInMs`. Does nothing when the event is handled meanwhile. */
export function recordFailure(
  database: Database,
  consumer: string,
  { id, subject }: LoggedEvent,
  { attempts, errorType, errorMessage }: Failure,
  retryInMs: number,
): Promise<void> {
  return database.transaction(async (transaction) => {
    transaction.enlist(transaction.query(LOCK, [consumer, subject]));
    transaction.enlist(
      transaction.query(RETRY, [consumer, subject, id, attempts, errorType, errorMessage, retryInMs]),
    );
  });
}

const GIVE_UP = {
  name: "durable-consumer.give-up",
  // The subject may have been erased while the event was handled: then neither its data nor what is said of it is kept.
  text: `
    WITH logged AS (
      SELECT data FROM events.log WHERE id = $3 FOR SHARE
    ), failed AS (
      DELETE FROM events.retry WHERE consumer = $1 AND subject = $2 RETURNING event_id, first_failed_at
    ), given_up AS (
      INSERT INTO events.inbox (consumer, event_id, subject, sequence) VALUES ($1, $3, $2, $4)
      ON CONFLICT DO NOTHING RETURNING event_id
    )
    INSERT INTO events.dead_letter (consumer, event_id, sequence, type, subject, event, error_type, error_message,
      attempts, first_failed_at, last_failed_at)
    SELECT $1, $3, $4, $5, $2, jsonb_set($6, '{data}', coalesce(logged.data, $6::jsonb -> 'data')), $7,
      CASE WHEN logged.data <> $6::jsonb -> 'data' THEN '' ELSE $8 END, $9,
      coalesce((SELECT first_failed_at FROM failed WHERE event_id = $3), now()), now()
    FROM given_up LEFT JOIN logged ON true RETURNING 1`,
};

/**
 * Puts an event among the dead letters, and lets later events of its subject pass.
 *
 * @returns whether it was this call that did
 */
export function giveUp(
  database: Database,
  consumer: string,
  { id, subject, sequence, type }: LoggedEvent,
  event: CloudEvent,
  { attempts, errorType, errorMessage }: Failure,
): Promise<boolean> {
  return database.transaction(async (transaction) => {
    transaction.enlist(transaction.query(LOCK, [consumer, subject]));
    const rows = await transaction.query(GIVE_UP, [
      consumer,
      subject,
      id,
      sequence,
      type,
      JSON.stringify(event),
      errorType,
      errorMessage,
      attempts,
    ]);
    return rows.length === 1;
  });
}

const PURGE_BATCH = 1000;
const OLDEST = { text: "SELECT min(sequence) AS oldest FROM events.log" };
// The number is a value of its own: only then does PostgreSQL know that few rows are below it, and not read all of them.
const PURGE = {
  text: `
    DELETE FROM events.inbox WHERE ctid IN (
      SELECT ctid FROM events.inbox WHERE consumer = $1 AND sequence < $2 LIMIT $3 FOR UPDATE SKIP LOCKED
    ) RETURNING 1`,
};

/** Forgets what the log no longer has: it cannot be delivered again. */
export async function purgeInbox(database: Database, consumer: string): Promise<void> {
  const [row] = await database.query<{ oldest: string | null }>(OLDEST, []);
  let deleted: number;
  do {
    deleted = (await database.query(PURGE, [consumer, row?.oldest, PURGE_BATCH])).length;
  } while (deleted === PURGE_BATCH);
}
