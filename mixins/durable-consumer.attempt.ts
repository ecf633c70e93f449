import type { Logger } from "pino";
import type { ConsumerMetrics } from "../broker/consumer-metrics.ts";
import { toCloudEvent, type CloudEvent } from "../lib/cloud-event.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import type { Database } from "../lib/database.ts";
import type { Approach, Step } from "./durable-consumer.deliveries.ts";
import { describe, isOutage, type Failure } from "./durable-consumer.failure.ts";
import {
  beginPlanned,
  findNext,
  giveUp,
  markHandled,
  recordFailure,
  type PendingEvent,
} from "./durable-consumer.store.ts";

interface AttemptsOptions {
  consumer: string;
  types: readonly string[];
  /** After this many failures an event becomes a dead letter. */
  maxDeliver: number;
  /** Waits after the first, second, … failure; the last one goes for all that follow. */
  backoffMs: readonly number[];
  database: Database;
  log: Logger;
  metrics: ConsumerMetrics | undefined;
  handle: (event: CloudEvent, transaction: DatabaseTransaction) => Promise<void>;
}

/** Waits are spread by this part, so that what failed together does not come back together. */
const JITTER = 0.2;
/** While something is away, an event is tried again after as long as it has waited for it, within these limits. */
const MIN_OUTAGE_WAIT_MS = 1000;
const MAX_OUTAGE_WAIT_MS = 30_000;

/** After this time it is looked whether a newer instance has handled an event whose type this one does not know. */
const LEFT_TO_NEWER_MS = 1000;

const PROCESS_ENDED = {
  errorType: "PROCESS_ENDED",
  errorMessage: "The process ended while it handled the event.",
};

/** Attempts to handle events, each in one transaction with the note that it is handled. */
export class Attempts {
  readonly #options: AttemptsOptions;

  constructor(options: AttemptsOptions) {
    this.#options = options;
  }

  /**
   * Handles the first event of a subject, up to a number, that is not handled yet.
   *
   * @throws the errors of a database that is away
   */
  async next(subject: string, through: number, approach: Approach): Promise<Step> {
    if (approach === "suspect") {
      const charged = await this.#charge(subject, through);
      return this.#attempt(subject, through, charged);
    }
    const obstacle = approach === "again" ? await this.#beginPlanned(subject, through) : undefined;
    return obstacle ?? this.#attempt(subject, through);
  }

  /** @param charged id of an event whose attempt is counted already */
  async #attempt(subject: string, through: number, charged?: string): Promise<Step> {
    const { consumer, database, metrics, handle } = this.#options;
    let event: PendingEvent | undefined;
    try {
      const step = await database.transaction(async (transaction): Promise<Step> => {
        const found = await this.#look(transaction, subject, through);
        if ("kind" in found) return found;
        event = found;
        this.#requireAttemptsLeft(found, charged);
        await handle(toCloudEvent(found), transaction);
        transaction.enlist(markHandled(transaction, consumer, found));
        return { kind: "handled", sequence: found.sequence };
      });
      if (step.kind === "handled") metrics?.countHandled(consumer);
      return step;
    } catch (error) {
      // Without an event it was the database that failed, not the handler.
      if (!event) throw error;
      const before = event.attempts - (event.id === charged ? 1 : 0);
      if (isOutage(error)) return this.#postpone(event, { attempts: before, ...describe(error) });
      return this.#fail(event, { attempts: before + 1, ...describe(error) });
    }
  }

  async #look(
    transaction: DatabaseTransaction,
    subject: string,
    through: number,
  ): Promise<Step | PendingEvent> {
    const { consumer, types } = this.#options;
    const next = await findNext(transaction, consumer, { subject, through });
    if (next === "busy") return { kind: "busy" };
    if (!next) return { kind: "done" };
    if (!types.includes(next.type)) return { kind: "later", retryInMs: LEFT_TO_NEWER_MS };
    return next.waitMs > 0 ? { kind: "later", retryInMs: next.waitMs } : next;
  }

  /** @returns what keeps the event from being tried without suspicion; undefined when its attempt was planned */
  #beginPlanned(subject: string, through: number): Promise<Step | undefined> {
    const { consumer, database } = this.#options;
    return database.transaction(async (transaction) => {
      const event = await this.#look(transaction, subject, through);
      if ("kind" in event) return event;
      if (!event.isPlanned) return { kind: "suspicious" };
      transaction.enlist(beginPlanned(transaction, consumer, event));
      return undefined;
    });
  }

  /**
   * Counts the coming attempt as failed: so it is when the process ends in it.
   *
   * @returns the id of the event
   */
  async #charge(subject: string, through: number): Promise<string | undefined> {
    const { consumer, database, maxDeliver } = this.#options;
    const event = await database.transaction((transaction) => this.#look(transaction, subject, through));
    if ("kind" in event || event.attempts >= maxDeliver) return undefined;
    const failure = { attempts: event.attempts + 1, ...PROCESS_ENDED };
    await recordFailure(database, consumer, event, failure, { inMs: 0, isPlanned: false });
    return event.id;
  }

  /** Only the end of a process leaves an event with all attempts behind it that is no dead letter. */
  #requireAttemptsLeft(event: PendingEvent, charged: string | undefined): void {
    if (event.id === charged || event.attempts < this.#options.maxDeliver) return;
    throw Object.assign(new Error(event.errorMessage ?? ""), { type: event.errorType });
  }

  async #fail(event: PendingEvent, failure: Failure): Promise<Step> {
    const { consumer, database, log, metrics, maxDeliver } = this.#options;
    const about = { consumer, event: event.id, type: event.type, subject: event.subject, ...failure };
    metrics?.countFailure(consumer);
    if (failure.attempts < maxDeliver) {
      const retryInMs = this.#backoff(failure.attempts);
      await recordFailure(database, consumer, event, failure, { inMs: retryInMs, isPlanned: true });
      log.warn({ ...about, retryInMs }, "an event was not handled");
      return { kind: "later", retryInMs };
    }
    const attempts = Math.min(failure.attempts, maxDeliver);
    if (await giveUp(database, consumer, event, toCloudEvent(event), { ...failure, attempts })) {
      metrics?.countDeadLetter(consumer);
      log.error({ ...about, attempts }, "an event became a dead letter");
    }
    return { kind: "handled", sequence: event.sequence };
  }

  /** Lets an event wait for what is away, without counting the attempt against it. */
  async #postpone(event: PendingEvent, failure: Failure): Promise<Step> {
    const { consumer, database, log, metrics } = this.#options;
    metrics?.countOutage(consumer);
    const { failingForMs } = event;
    const retryInMs = spread(Math.min(Math.max(failingForMs, MIN_OUTAGE_WAIT_MS), MAX_OUTAGE_WAIT_MS));
    await recordFailure(database, consumer, event, failure, { inMs: retryInMs, isPlanned: true });
    const about = { consumer, event: event.id, type: event.type, subject: event.subject, ...failure };
    log[failingForMs === 0 ? "warn" : "debug"]({ ...about, retryInMs }, "an event waits for what is away");
    return { kind: "later", retryInMs };
  }

  #backoff(attempts: number): number {
    const { backoffMs } = this.#options;
    return spread(backoffMs[Math.min(attempts, backoffMs.length) - 1] ?? 0);
  }
}

function spread(waitMs: number): number {
  return Math.round(waitMs * (1 + JITTER * (2 * Math.random() - 1)));
}
