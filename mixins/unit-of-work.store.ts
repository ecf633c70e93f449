import type { CacheEntry } from "../broker/cache/entry.ts";
import { appError } from "../broker/errors.ts";
import type { DomainEventMap } from "../lib/contracts.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import { stateOf } from "../lib/database-errors.ts";
import type { Database } from "../lib/database.ts";
import { newId } from "../lib/ids.ts";

const HOUR_MS = 3_600_000;

/** A domain event as a unit of work records it. */
export type DomainEvent = {
  [Type in keyof DomainEventMap]: {
    type: Type;
    /** The whole resource after the change, so that consumers need not call back. */
    data: DomainEventMap[Type];
    /** Names of the fields that the change set. */
    changedFields: readonly string[];
  };
}[keyof DomainEventMap];

/** The identity of a request: the same key means the same request. */
export interface Request {
  principal: string;
  action: string;
  key: string;
  fingerprint: string;
}

/** What a change reports back. */
export interface Outcome<Result> {
  /** Id of the resource that was changed or, if nothing had to change, looked at. */
  subject: string;
  result: Result;
  /** What cached reads of the resource answer now. Without it, they are only known to be out of date. */
  current?: CacheEntry | undefined;
  /** The resource did not exist before, so no cache has heard of it. */
  isNew?: boolean;
}

const CLAIM = { name: "unit-of-work.claim", text: "SELECT events.claim($1, $2, $3)" };

/**
 * Makes the request ours until the transaction ends.
 *
 * @throws IDEMPOTENCY_IN_FLIGHT, or an error for {@link isDone} when the request was done before
 */
export async function claim(
  transaction: DatabaseTransaction,
  { principal, action, key }: Request,
): Promise<void> {
  try {
    await transaction.query(CLAIM, [principal, action, key]);
  } catch (error) {
    throw stateOf(error) === "RC001" ? appError("IDEMPOTENCY_IN_FLIGHT") : error;
  }
}

/** Whether an error says that the request was done before. */
export function isDone(error: unknown): boolean {
  return stateOf(error) === "RC002";
}

const FIND_RESULT = {
  name: "unit-of-work.find-result",
  text: `SELECT fingerprint, result, subject FROM events.idempotency
    WHERE principal = $1 AND action = $2 AND key = $3 AND expires_at > now()`,
};

/**
 * What came out of a request that was done before; undefined when there is none.
 *
 * @throws IDEMPOTENCY_KEY_REUSED when it had other parameters
 */
export async function findOutcome(
  database: Database,
  { principal, action, key, fingerprint }: Request,
): Promise<Outcome<unknown> | undefined> {
  const [row] = await database.query<Outcome<unknown> & { fingerprint: string }>(FIND_RESULT, [
    principal,
    action,
    key,
  ]);
  if (!row) return undefined;
  if (row.fingerprint !== fingerprint) throw appError("IDEMPOTENCY_KEY_REUSED");
  return { subject: row.subject, result: row.result };
}

/** An event of a unit of work; without a subject, it is about the resource of the outcome. */
export interface RecordedEvent {
  event: DomainEvent;
  subject?: string | undefined;
}

/** What a unit of work has done, to be written beside its rows. */
export interface WorkRecord<Result> {
  request: Request;
  requestId: string;
  outcome: Outcome<Result>;
  events: readonly RecordedEvent[];
  now: Date;
  idempotencyTtlHours: number;
}

const APPEND_EVENTS = `
  INSERT INTO events.outbox (id, type, subject, data, changed_fields, actor, request_id, occurred_at)
  SELECT id, type, subject, data, changed_fields, $1, $2, $3
  FROM jsonb_to_recordset($4) AS event (id uuid, type text, subject uuid, data jsonb, changed_fields text[])`;

const WRITE = {
  name: "unit-of-work.write",
  text: `
    WITH appended AS (${APPEND_EVENTS})
    INSERT INTO events.idempotency (principal, action, key, fingerprint, result, subject, expires_at)
    VALUES ($1, $5, $6, $7, $8, $9, $10)`,
};

/** Writes the events and the result of a unit of work. */
export async function write<Result>(
  transaction: DatabaseTransaction,
  { request, requestId, outcome, events, now, idempotencyTtlHours }: WorkRecord<Result>,
): Promise<void> {
  await transaction.query(WRITE, [
    request.principal,
    requestId,
    now,
    JSON.stringify(events.map(({ event, subject = outcome.subject }) => outboxRow(subject, event))),
    request.action,
    request.key,
    request.fingerprint,
    JSON.stringify(outcome.result),
    outcome.subject,
    new Date(now.getTime() + idempotencyTtlHours * HOUR_MS),
  ]);
}

/** An event with the id of the resource it is about. */
export interface SubjectEvent {
  subject: string;
  event: DomainEvent;
}

/** Where events come from that belong to no request of their own. */
export interface EventOrigin {
  actor: string;
  requestId: string;
  now: Date;
}

/** Events that one statement appends, so that each stays well within the time of a statement. */
const APPEND_BATCH = 1000;
const APPEND = { name: "unit-of-work.append", text: APPEND_EVENTS };

/** Writes events to the outbox, without a result for idempotent replay. */
export async function appendEvents(
  transaction: DatabaseTransaction,
  events: readonly SubjectEvent[],
  { actor, requestId, now }: EventOrigin,
): Promise<void> {
  const rows = events.map(({ subject, event }) => outboxRow(subject, event));
  const batches: string[] = [];
  while (rows.length > 0) batches.push(JSON.stringify(rows.splice(0, APPEND_BATCH)));
  // Together, as whoever enlists this may end the transaction meanwhile.
  await Promise.all(batches.map((batch) => transaction.query(APPEND, [actor, requestId, now, batch])));
}

function outboxRow(subject: string, { type, data, changedFields }: DomainEvent): object {
  return { id: newId(), type, subject, data, changed_fields: changedFields };
}

const FORGET = {
  name: "unit-of-work.forget",
  text: "DELETE FROM events.idempotency WHERE subject = ANY($1)",
};

const REDACTED = `data = coalesce(
  (SELECT jsonb_object_agg(key, value) FROM jsonb_each(data) WHERE key IN ('id', 'version')), '{}')`;

// The outbox first: an event that the relay is just moving is waited for, and is then in the log. In the order in which
// the relay takes them, else the two could wait for each other.
const REDACT = [
  {
    name: "unit-of-work.redact-outbox",
    text: `UPDATE events.outbox SET ${REDACTED} WHERE position IN
      (SELECT position FROM events.outbox WHERE subject = ANY($1) ORDER BY position FOR UPDATE)`,
  },
  { name: "unit-of-work.redact-log", text: `UPDATE events.log SET ${REDACTED} WHERE subject = ANY($1)` },
  // What an error says may be about the data too.
  {
    name: "unit-of-work.redact-retries",
    text: "UPDATE events.retry SET error_message = '' WHERE subject = ANY($1)",
  },
  {
    name: "unit-of-work.redact-dead-letters",
    text: `UPDATE events.dead_letter SET error_message = '', event = jsonb_set(event, '{data}', coalesce(
      (SELECT jsonb_object_agg(key, value) FROM jsonb_each(event->'data') WHERE key IN ('id', 'version')), '{}'))
      WHERE subject = ANY($1)`,
  },
];

/** Deletes every result for replay that is about a resource, and of the data of its events all but id and version. */
export async function forget(transaction: DatabaseTransaction, subjects: readonly string[]): Promise<void> {
  await Promise.all([FORGET, ...REDACT].map((statement) => transaction.query(statement, [subjects])));
}
