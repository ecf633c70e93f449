import type { KeyObject } from "node:crypto";
import { Errors, type Context, type ServiceSchema } from "moleculer";
import { cacheKey } from "../broker/cache/cache-key.ts";
import { changeCache } from "../broker/cache/cacher.ts";
import { appError } from "../broker/errors.ts";
import { IDEMPOTENCY_KEY_HEADER } from "../broker/idempotency-key.middleware.ts";
import { keyedFingerprint } from "../lib/canonical-json.ts";
import { requestIdOf, type ActionName, type ActionParams } from "../lib/contracts.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import type { Database } from "../lib/database.ts";
import { derivedKey } from "../lib/derived-key.ts";
import { actorOf, type PrincipalMeta } from "../lib/principal.ts";
import { relayWakeupOf } from "./unit-of-work.wakeup.ts";
import {
  claim,
  findOutcome,
  forget,
  isDone,
  write,
  type DomainEvent,
  type Outcome,
  type RecordedEvent,
  type Request,
} from "./unit-of-work.store.ts";

/** What a change has at hand while its transaction is open. */
export interface Work {
  /** Statements that need not be waited for are enlisted: they share a round trip, and fail the transaction. */
  readonly transaction: DatabaseTransaction;
  /** The time of the change, one value for all its rows and events. Read it after the row is locked. */
  readonly now: Date;
  /**
   * Appends an event to the outbox, to be sent if and only if the transaction commits.
   *
   * @param subject id of the resource that it is about, when that is another one than the outcome's
   */
  record(event: DomainEvent, subject?: string): void;
  /**
   * Forgets what is kept about a resource that goes for good: results for idempotent replay, and the data of its events
   * but for id and version.
   */
  forget(subject: string): void;
}

export interface UnitOfWorkMethods {
  /**
   * Runs `change` in ONE transaction together with its events and its idempotency record. When the same request was
   * done before, `change` does not run: its first result is returned and `ctx.meta.$isReplay` is true.
   *
   * @param identity what is the same whenever a request is repeated: the parameters, unless some of them differ then
   * @throws IDEMPOTENCY_IN_FLIGHT, IDEMPOTENCY_KEY_REUSED, and what `change` throws: then nothing was written
   */
  unitOfWork<Result>(
    ctx: Context,
    change: (work: Work) => Promise<Outcome<Result>>,
    identity?: unknown,
  ): Promise<Result>;
  /**
   * For a request that takes long before its unit of work, in no transaction: runs `work`, which ends in that unit of
   * work, unless the request was done before. Then its first result is returned, as `unitOfWork` does.
   *
   * @throws IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_IN_FLIGHT also while this node works on it, and what `work` throws
   */
  unlessDone<Result>(ctx: Context, work: () => Promise<Result>, identity?: unknown): Promise<Result>;
}

interface UnitOfWorkOptions {
  database: Database;
  /** How long the result of a request is kept for replay. */
  idempotencyTtlHours: number;
  /** The node's SECRET. Parameters may be passwords: without it nobody can try which ones a fingerprint is of. */
  secret: string;
  /** Cached reads that a change of this resource makes stale. All of them answer the same. */
  cachedReads: (subject: string) => { [Name in ActionName]: [Name, ActionParams<Name>] }[ActionName][];
}

/** Metadata of a call that the unit of work reads and writes. */
interface WorkMeta extends PrincipalMeta {
  $isReplay?: boolean;
}

/**
 * The one write path: every change of a row goes through `this.unitOfWork`. It takes the idempotency key from the
 * headers of the call; the broker gives one to every call of an action marked `idempotent: true`, which is what makes
 * the broker's retries of writes safe.
 */
export function UnitOfWorkMixin(options: UnitOfWorkOptions): Partial<ServiceSchema> {
  const parts = {
    ...options,
    fingerprintKey: derivedKey(options.secret, "idempotency"),
    wakeRelay: relayWakeupOf(options.database),
  };
  const inFlight = new Set<string>();
  return {
    methods: {
      unitOfWork<Result>(
        ctx: Context<unknown, WorkMeta>,
        change: (work: Work) => Promise<Outcome<Result>>,
        identity: unknown = ctx.params,
      ): Promise<Result> {
        const request = requestOf(ctx, identity, parts.fingerprintKey);
        return runUnitOfWork(parts, ctx, request, change);
      },

      async unlessDone<Result>(
        ctx: Context<unknown, WorkMeta>,
        work: () => Promise<Result>,
        identity: unknown = ctx.params,
      ): Promise<Result> {
        const request = requestOf(ctx, identity, parts.fingerprintKey);
        const name = JSON.stringify([request.principal, request.action, request.key]);
        if (inFlight.has(name)) throw appError("IDEMPOTENCY_IN_FLIGHT");
        inFlight.add(name);
        try {
          const replay = await findReplay(parts, ctx, request);
          return replay ? (replay.result as Result) : await work();
        } finally {
          inFlight.delete(name);
        }
      },
    },
  };
}

interface UnitOfWorkParts extends UnitOfWorkOptions {
  fingerprintKey: KeyObject;
  wakeRelay: () => void;
}

async function runUnitOfWork<Result>(
  parts: UnitOfWorkParts,
  ctx: Context<unknown, WorkMeta>,
  request: Request,
  change: (work: Work) => Promise<Outcome<Result>>,
): Promise<Result> {
  refuseWhenLate(ctx);
  const { database, idempotencyTtlHours, cachedReads, wakeRelay } = parts;
  try {
    const { subject, result, current, isNew } = await database.transaction(async (transaction) => {
      const claimed = claim(transaction, request);
      transaction.enlist(claimed);
      const work = new PendingWork(transaction);
      const outcome = await change(work).catch(async (error: unknown) => {
        // A change fails too when the request is not ours; then that is the reason.
        await claimed;
        throw error;
      });
      const { events, now } = work;
      const requestId = requestIdOf(ctx);
      transaction.enlist(
        write(transaction, { request, requestId, outcome, events, now, idempotencyTtlHours }),
      );
      if (events.length > 0) transaction.afterCommit(wakeRelay);
      return outcome;
    });
    await changeCache(ctx.broker, keysOf(cachedReads(subject)), current, isNew);
    return result;
  } catch (error) {
    if (!isDone(error)) throw error;
    const replay = await findReplay(parts, ctx, request);
    // It was deleted meanwhile: it is tried again.
    if (!replay) throw appError("IDEMPOTENCY_IN_FLIGHT");
    return replay.result as Result;
  }
}

async function findReplay(
  { database, cachedReads }: UnitOfWorkParts,
  ctx: Context<unknown, WorkMeta>,
  request: Request,
): Promise<Outcome<unknown> | undefined> {
  const outcome = await findOutcome(database, request);
  if (!outcome) return undefined;
  ctx.meta.$isReplay = true;
  // The node of the first attempt may have died between its commit and this.
  await changeCache(ctx.broker, keysOf(cachedReads(outcome.subject)));
  return outcome;
}

class PendingWork implements Work {
  readonly transaction: DatabaseTransaction;
  readonly events: RecordedEvent[] = [];
  #now: Date | undefined;

  constructor(transaction: DatabaseTransaction) {
    this.transaction = transaction;
  }

  get now(): Date {
    // Taken late: of two changes that wait for one row, the one that comes second must not have the earlier time.
    return (this.#now ??= new Date());
  }

  record(event: DomainEvent, subject?: string): void {
    this.events.push({ event, subject });
  }

  forget(subject: string): void {
    this.transaction.enlist(forget(this.transaction, [subject]));
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

function requestOf(ctx: Context<unknown, WorkMeta>, identity: unknown, fingerprintKey: KeyObject): Request {
  const key: unknown = ctx.headers?.[IDEMPOTENCY_KEY_HEADER];
  const action = ctx.action?.name;
  const { principal } = ctx.meta;
  if (typeof key !== "string" || !action || !principal) {
    throw new Error(`The action '${action}' uses a unit of work and must be marked 'idempotent: true'.`);
  }
  const fingerprint = keyedFingerprint(fingerprintKey, identity);
  return { principal: actorOf(principal), action, key, fingerprint };
}

function keysOf(reads: readonly [ActionName, unknown][]): string[] {
  return reads.map(([action, params]) => cacheKey(action, params));
}
