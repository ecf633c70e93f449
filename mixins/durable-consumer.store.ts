import { LOGGED_EVENT_COLUMNS, type CloudEvent, type LoggedEvent } from "../lib/cloud-event.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import type { Database } from "../lib/database.ts";
import type { Failure } from "./durable-consumer.failure.ts";

/** A type that no instance of a consumer says that it handles is forgotten after this time. */
const FORGET_AFTER_SECONDS = 60;

const REGISTER = {
  text: `
    WITH known AS (SELECT EXISTS (SELECT FROM events.consumer WHERE name = $1) AS is_known),
    registered AS (INSERT INTO events.consumer (name, position) VALUES ($1, 0) ON CONFLICT DO NOTHING),
    forgotten AS (
      DELETE FROM events.subscription
      WHERE consumer = $1 AND type <> ALL ($2) AND seen_at < now() - make_interval(secs => $4)
    )
    INSERT INTO events.subscription (consumer, type, start_after, seen_at)
    SELECT $1, type, CASE WHEN $3 AND NOT is_known THEN 0 ELSE head END, now()
    FROM unnest($2::text[]) AS type, known, events.relay
    ON CONFLICT (consumer, type) DO UPDATE SET seen_at = now()
    RETURNING type, start_after::float8 AS "startAfter"`,
};

/** How often {@link register} is to be called by an instance that runs. */
export const REGISTER_INTERVAL_MS = 15_000;

/**
 * Says that an instance of a consumer runs that handles these types. A type that is added to a known consumer begins
 * now. One that only other instances handle stays, as long as they say so: while nodes are replaced, older and newer ones
 * run side by side.
 *
 * @returns for each type, the number up to which no event is for the consumer
 */
export async function register(
  database: Database,
  consumer: string,
  types: readonly string[],
  startFrom: "beginning" | "now",
): Promise<ReadonlyMap<string, number>> {
  const rows = await database.query<{ type: string; startAfter: number }>(REGISTER, [
    consumer,
    types,
    startFrom === "beginning",
    FORGET_AFTER_SECONDS,
  ]);
  return new Map(rows.map(({ type, startAfter }) => [type, startAfter]));
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
      coalesce(greatest(extract(epoch FROM not_before - clock_timestamp()) * 1000, 0), 0)::float8 AS "waitMs",
      coalesce(extract(epoch FROM clock_timestamp() - first_failed_at) * 1000, 0)::float8 AS "failingForMs",
      coalesce(is_planned, false) AS "isPlanned"
    FROM (
      SELECT log.* FROM events.log JOIN events.subscription AS begun ON begun.consumer = $1 AND begun.type = log.type
      WHERE log.subject = $2 AND log.sequence <= $3 AND log.sequence > begun.start_after
        AND log.sequence >
          coalesce((SELECT max(sequence) FROM events.inbox WHERE consumer = $1 AND subject = $2), 0)
      ORDER BY log.sequence LIMIT 1
    ) AS log
    LEFT JOIN LATERAL (
      SELECT attempts, not_before, first_failed_at, is_planned, error_type AS "errorType", error_message AS "errorMessage"
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
  /** Since it failed first. */
  failingForMs: number;
  /** The process has lived to plan its next attempt, which has not begun. */
  isPlanned: boolean;
};

/**
 * Makes a subject the caller's until the transaction ends.
 *
 * @returns whether it is, or another transaction has it
 */
export async function tryLock(
  transaction: DatabaseTransaction,
  consumer: string,
  subject: string,
): Promise<boolean> {
  const [lock] = await transaction.query<{ isOurs: boolean }>(TRY_LOCK, [consumer, subject]);
  return lock?.isOurs === true;
}

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
  const [isOurs, [next]] = await Promise.all([
    tryLock(transaction, consumer, subject),
    transaction.query<PendingEvent>(NEXT, [consumer, subject, through]),
  ]);
  return isOurs ? next : "busy";
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

const RETRY = {
  name: "durable-consumer.retry",
  text: `
    INSERT INTO events.retry AS known (consumer, subject, event_id, attempts, error_type, error_message,
      first_failed_at, last_failed_at, not_before, is_planned)
    SELECT $1, $2, $3, $4, $5, $6, now(), now(), now() + $7 * interval '1 millisecond', $8
    WHERE NOT EXISTS (SELECT FROM events.inbox WHERE consumer = $1 AND event_id = $3)
    ON CONFLICT (consumer, subject) DO UPDATE SET event_id = excluded.event_id, attempts = excluded.attempts,
      error_type = excluded.error_type, error_message = excluded.error_message,
      first_failed_at =
        CASE WHEN known.event_id = excluded.event_id THEN known.first_failed_at ELSE excluded.first_failed_at END,
      last_failed_at = excluded.last_failed_at, not_before = excluded.not_before, is_planned = excluded.is_planned`,
};

/** When an event is to be tried again. */
interface NextAttempt {
  inMs: number;
  /** False while an attempt runs that is counted before its end. */
  isPlanned: boolean;
}

/** Remembers a failed attempt; the subject waits. Does nothing when the event is handled meanwhile. */
export function recordFailure(
  database: Database,
  consumer: string,
  { id, subject }: LoggedEvent,
  { attempts, errorType, errorMessage }: Failure,
  { inMs, isPlanned }: NextAttempt,
): Promise<void> {
  const values = [consumer, subject, id, attempts, errorType, errorMessage, inMs, isPlanned];
  return database.transaction(async (transaction) => {
    transaction.enlist(transaction.query(LOCK, [consumer, subject]));
    transaction.enlist(transaction.query(RETRY, values));
  });
}

const BEGIN_PLANNED = {
  name: "durable-consumer.begin-planned",
  text: "UPDATE events.retry SET is_planned = false WHERE consumer = $1 AND subject = $2",
};

/** Notes that the planned attempt begins: if it ends the process, it is not planned any more. */
export async function beginPlanned(
  transaction: DatabaseTransaction,
  consumer: string,
  { subject }: LoggedEvent,
): Promise<void> {
  await transaction.query(BEGIN_PLANNED, [consumer, subject]);
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
