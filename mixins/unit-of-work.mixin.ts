import { Errors, type Context, type ServiceBroker, type ServiceSchema } from "moleculer";
import { QueryTypes, type Transaction } from "sequelize";
import { appError } from "../broker/errors.ts";
import { cacheKey, invalidateCache } from "../broker/cache.ts";
import { IDEMPOTENCY_KEY_HEADER } from "../broker/idempotency-key.middleware.ts";
import { fingerprint } from "../lib/canonical-json.ts";
import type { ActionName, ActionParams, DomainEventMap } from "../lib/contracts.ts";
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

/** What a change has at hand while its transaction is open. */
export interface Work {
  readonly transaction: Transaction;
  /** The time of the change: one value for all its rows and events. */
  readonly now: Date;
  /** Appends an event to the outbox, to be sent if and only if the transaction commits. */
  record(event: DomainEvent): void;
  /** Forgets every result kept for idempotent replay that is about this resource. */
  forgetResultsAbout(subject: string): void;
}

/** What a change reports back. */
export interface Outcome<Result> {
  /** Id of the resource that was changed or, if nothing had to change, looked at. */
  subject: string;
  result: Result;
}

export interface UnitOfWorkMethods {
  /**
   * Runs `change` in ONE transaction together with its events and its idempotency record. When the same request was
   * done before, `change` does not run: its first result is returned and `ctx.meta.$isReplay` is true.
   *
   * @throws IDEMPOTENCY_IN_FLIGHT, IDEMPOTENCY_KEY_REUSED, and what `change` throws: then nothing was written
   */
  unitOfWork<Result>(ctx: Context, change: (work: Work) => Promise<Outcome<Result>>): Promise<Result>;
}

interface UnitOfWorkOptions {
  database: Database;
  /** How long the result of a request is kept for replay. */
  idempotencyTtlHours: number;
  /** Cached reads that a change of this resource makes stale. */
  cachedReads: (subject: string) => { [Name in ActionName]: [Name, ActionParams<Name>] }[ActionName][];
}

/** Metadata of a call that the unit of work reads and writes. */
interface WorkMeta {
  /** Who does it: the id of a principal. */
  actor?: string;
  $isReplay?: boolean;
}

/** The identity of a request: the same key means the same request. */
interface Request {
  principal: string;
  action: string;
  key: string;
  fingerprint: string;
}

/**
 * The one write path: every change of a row goes through `this.unitOfWork`. It takes the idempotency key from the
 * headers of the call; the broker gives one to every call of an action marked `idempotent: true`, which is what makes
 * the broker's retries of writes safe.
 */
export function UnitOfWorkMixin(options: UnitOfWorkOptions): Partial<ServiceSchema> {
  const purge = createPurge(options.database);
  return {
    started: purge.start,
    stopped: purge.stop,
    events: {
      "cache-invalidated": {
        handler(ctx: Context<{ keys: string[] }>) {
          return ctx.broker.cacher?.del(ctx.params.keys);
        },
      },
    },
    methods: {
      unitOfWork<Result>(ctx: Context, change: (work: Work) => Promise<Outcome<Result>>): Promise<Result> {
        return runUnitOfWork(options, ctx as Context<unknown, WorkMeta>, change);
      },
    },
  };
}

async function runUnitOfWork<Result>(
  { database, idempotencyTtlHours, cachedReads }: UnitOfWorkOptions,
  ctx: Context<unknown, WorkMeta>,
  change: (work: Work) => Promise<Outcome<Result>>,
): Promise<Result> {
  refuseWhenLate(ctx);
  const request = requestOf(ctx);
  const { subject, result, isReplay } = await database.primary.transaction(async (transaction) => {
    const earlier = await claim<Result>(database, request, transaction);
    if (earlier) return { ...earlier, isReplay: true };

    const work = new PendingWork(transaction);
    const outcome = await change(work);
    await write(database, { ctx, request, outcome, work, idempotencyTtlHours });
    return { ...outcome, isReplay: false };
  });

  if (isReplay) ctx.meta.$isReplay = true;
  else await invalidate(ctx.broker, cachedReads(subject));
  return result;
}

class PendingWork implements Work {
  readonly now = new Date();
  readonly transaction: Transaction;
  readonly events: DomainEvent[] = [];
  readonly forgotten: string[] = [];

  constructor(transaction: Transaction) {
    this.transaction = transaction;
  }

  record(event: DomainEvent): void {
    this.events.push(event);
  }

  forgetResultsAbout(subject: string): void {
    this.forgotten.push(subject);
  }
}

/** A request can wait so long for its turn that its caller has given up; then the work is not begun. */
function refuseWhenLate(ctx: Context): void {
  const { timeout } = ctx.options;
  const startedAt = (ctx as { startHrTime?: [number, number] }).startHrTime;
  if (!timeout || !startedAt) return;
  const [seconds, nanoseconds] = process.hrtime(startedAt);
  if (seconds * 1e3 + nanoseconds / 1e6 < timeout) return;
  throw new Errors.RequestSkippedError({ action: ctx.action?.name ?? "", nodeID: ctx.broker.nodeID });
}

function requestOf(ctx: Context<unknown, WorkMeta>): Request {
  const key: unknown = ctx.headers?.[IDEMPOTENCY_KEY_HEADER];
  const action = ctx.action?.name;
  if (typeof key !== "string" || !action) {
    throw new Error(`The action '${action}' uses a unit of work and must be marked 'idempotent: true'.`);
  }
  return { principal: ctx.meta.actor ?? "anonymous", action, key, fingerprint: fingerprint(ctx.params) };
}

/**
 * Makes the request ours until the transaction ends, unless it was done before.
 *
 * The lock and the look-up see different moments, so a first request that commits in between can be missed here; its
 * record is found by {@link write}, which then takes everything back.
 */
async function claim<Result>(
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

interface WriteOptions<Result> {
  ctx: Context<unknown, WorkMeta>;
  request: Request;
  outcome: Outcome<Result>;
  work: PendingWork;
  idempotencyTtlHours: number;
}

/** Writes events and idempotency record, in one round trip. */
async function write<Result>(database: Database, options: WriteOptions<Result>): Promise<void> {
  const { ctx, request, outcome, work, idempotencyTtlHours } = options;
  if (work.forgotten.length > 0) {
    await database.primary.query("DELETE FROM events.idempotency WHERE subject = ANY($1::uuid[])", {
      bind: [work.forgotten],
      transaction: work.transaction,
    });
  }
  const events = work.events.map(({ type, data, changedFields }) => ({
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
        ctx.requestID ?? ctx.id,
        work.now,
        JSON.stringify(events),
        request.action,
        request.key,
        request.fingerprint,
        JSON.stringify(outcome.result),
        outcome.subject,
        idempotencyTtlHours,
      ],
      type: QueryTypes.SELECT,
      transaction: work.transaction,
    },
  );
  // The first request has committed since `claim` looked: take everything back, a retry will find its result.
  if (row?.written !== 1) throw appError("IDEMPOTENCY_IN_FLIGHT");
}

function invalidate(broker: ServiceBroker, reads: readonly [ActionName, unknown][]): Promise<void> {
  return invalidateCache(
    broker,
    reads.map(([action, params]) => cacheKey(action, params)),
  );
}

const PURGE_INTERVAL_MS = 10 * 60_000;

/** Deletes expired idempotency records now and then, in steps that hold no lock for long. */
function createPurge(database: Database) {
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  const schedule = () => {
    if (isStopped) return;
    // Spread, so that the nodes do not all do it at once.
    timer = setTimeout(() => void run(), PURGE_INTERVAL_MS * (0.5 + Math.random()));
    timer.unref();
  };
  const run = async () => {
    // It is tried again: a database that is away is reported by its monitor.
    await deleteExpired(database).catch(() => undefined);
    schedule();
  };
  return {
    start: async () => schedule(),
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

const PURGE_BATCH = 1000;

/** Deletes every idempotency record whose time is over. */
export async function deleteExpired(database: Database): Promise<void> {
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
