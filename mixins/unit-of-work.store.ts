import { QueryTypes, type Transaction } from "sequelize";
import { appError } from "../broker/errors.ts";
import type { DomainEventMap } from "../lib/contracts.ts";
import type { Database } from "../lib/database.ts";
import { newId } from "../lib/ids.ts";

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
}

/**
 * Makes the request ours until the transaction ends, unless it was done before.
 *
 * The lock and the look-up see different moments, so a first request that commits in between can be missed here; its
 * record is found by {@link write}, which then takes everything back.
 */
export async function claim<Result>(
  database: Database,
  { principal, action, key, fingerprint: parameters }: Request,
  transaction: Transaction,
): Promise<Outcome<Result> | undefined> {
  const [row] = await database.primary.query<{
    isOurs: boolean;
    fingerprint: string | null;
    result: Result;
    subject: string;
  }>(
    `SELECT pg_try_advisory_xact_lock(hashtextextended(jsonb_build_array($1::text, $2::text, $3::text)::text, 0)) AS "isOurs",
            earlier.fingerprint, earlier.result, earlier.subject
     FROM (SELECT) AS one LEFT JOIN events.idempotency AS earlier
       ON principal = $1 AND action = $2 AND key = $3 AND expires_at > now()`,
    { bind: [principal, action, key], type: QueryTypes.SELECT, transaction },
  );
  if (row?.fingerprint) {
    if (row.fingerprint !== parameters) throw appError("IDEMPOTENCY_KEY_REUSED");
    return { subject: row.subject, result: row.result };
  }
  if (!row?.isOurs) throw appError("IDEMPOTENCY_IN_FLIGHT");
  return undefined;
}

/** What a unit of work has done, to be written beside its rows. */
export interface WorkRecord<Result> {
  request: Request;
  requestId: string;
  outcome: Outcome<Result>;
  events: readonly DomainEvent[];
  now: Date;
  idempotencyTtlHours: number;
}

/** Writes events and idempotency record, in one round trip. @throws IDEMPOTENCY_IN_FLIGHT */
export async function write<Result>(
  database: Database,
  { request, requestId, outcome, events, now, idempotencyTtlHours }: WorkRecord<Result>,
  transaction: Transaction,
): Promise<void> {
  const rows = events.map(({ type, data, changedFields }) => ({
    id: newId(),
    type,
    subject: outcome.subject,
    data,
    changed_fields: changedFields,
  }));
  const [row] = await database.primary.query<{ written: number }>(
    `WITH appended AS (
       INSERT INTO events.outbox (id, type, subject, data, changed_fields, actor, request_id, occurred_at)
       SELECT id, type, subject, data, changed_fields, $1, $2, $3
       FROM jsonb_to_recordset($4::jsonb)
         AS event (id uuid, type text, subject uuid, data jsonb, changed_fields text[])
     ), kept AS (
       INSERT INTO events.idempotency (principal, action, key, fingerprint, result, subject, expires_at)
       VALUES ($1, $5, $6, $7, $8, $9, $3::timestamptz + make_interval(hours => $10))
       ON CONFLICT (principal, action, key) DO UPDATE
         SET fingerprint = excluded.fingerprint, result = excluded.result, subject = excluded.subject,
             expires_at = excluded.expires_at
         WHERE idempotency.expires_at <= now()
       RETURNING 1
     )
     SELECT count(*)::integer AS written FROM kept`,
    {
      bind: [
        request.principal,
        requestId,
        now,
        JSON.stringify(rows),
        request.action,
        request.key,
        request.fingerprint,
        JSON.stringify(outcome.result),
        outcome.subject,
        idempotencyTtlHours,
      ],
      type: QueryTypes.SELECT,
      transaction,
    },
  );
  // The first request has committed since `claim` looked: take everything back, a retry will find its result.
  if (row?.written !== 1) throw appError("IDEMPOTENCY_IN_FLIGHT");
}

/** Deletes every result that is kept for replay and is about this resource. */
export async function forgetResultsAbout(
  database: Database,
  subject: string,
  transaction: Transaction,
): Promise<void> {
  await database.primary.query("DELETE FROM events.idempotency WHERE subject = $1", {
    bind: [subject],
    transaction,
  });
}

const PURGE_BATCH = 1000;

/** Deletes every idempotency record whose time is over. */
export async function deleteExpiredResults(database: Database): Promise<void> {
  let deleted: number;
  do {
    const rows = await database.primary.query(
      `DELETE FROM events.idempotency WHERE ctid IN
         (SELECT ctid FROM events.idempotency WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)
       RETURNING 1`,
      { bind: [PURGE_BATCH], type: QueryTypes.SELECT },
    );
    deleted = rows.length;
  } while (deleted === PURGE_BATCH);
}
