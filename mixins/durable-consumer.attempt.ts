import type { Logger } from "pino";
import type { ConsumerMetrics } from "../broker/consumer-metrics.ts";
import { toCloudEvent, type CloudEvent } from "../lib/cloud-event.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import type { Database } from "../lib/database.ts";
import { Slots } from "../lib/slots.ts";
import type { Step } from "./durable-consumer.deliveries.ts";
import {
  findNext,
  giveUp,
  markHandled,
  recordFailure,
  type Failure,
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
  /** A handler that takes longer has failed. */
  timeoutMs: number;
  /** Resolves to whether the handler has recorded events. */
  handle: (event: CloudEvent, transaction: DatabaseTransaction) => Promise<boolean>;
  /** Tells the relay of events that are committed. */
  wakeRelay: () => void;
}

/** Waits are spread by this part, so that what failed together does not come back together. */
const JITTER = 0.2;
const MAX_MESSAGE_LENGTH = 1000;

/** After this time it is looked whether a newer instance has handled an event whose type this one does not know. */
export const LEFT_TO_NEWER_MS = 1000;

const PROCESS_ENDED = {
  errorType: "PROCESS_ENDED",
  errorMessage: "The process ended while it handled the event.",
};

/** Attempts to handle events, each in one transaction with the note that it is handled. */
export class Attempts {
  readonly #options: AttemptsOptions;
  /** One at a time: of several, all would be counted against when one of them ends the process. */
  readonly #suspects = new Slots(1);

  constructor(options: AttemptsOptions) {
    this.#options = options;
  }

  /**
   * Handles the first event of a subject, up to a number, that is not handled yet.
   *
   * @param isRepeated the event may have ended a process: then the attempt is counted before it begins
   * @throws the errors of a database that is away
   */
  next(subject: string, through: number, isRepeated: boolean): Promise<Step> {
    if (!isRepeated) return this.#attempt(subject, through);
    return this.#suspects.run(async () => {
      const charged = await this.#charge(subject, through);
      return this.#attempt(subject, through, charged);
    });
  }

  /** @param charged id of an event whose attempt is counted already */
  async #attempt(subject: string, through: number, charged?: string): Promise<Step> {
    const { consumer, database, metrics, handle, timeoutMs, wakeRelay } = this.#options;
    let event: PendingEvent | undefined;
    let hasRecorded = false;
    try {
      const step = await database.transaction(async (transaction): Promise<Step> => {
        const found = await this.#look(transaction, subject, through);
        if ("kind" in found) return found;
        event = found;
        this.#requireAttemptsLeft(found, charged);
        hasRecorded = await within(timeoutMs, handle(toCloudEvent(found), transaction));
        transaction.enlist(markHandled(transaction, consumer, found));
        return { kind: "handled", sequence: found.sequence };
      });
      if (step.kind === "handled") metrics?.countHandled(consumer);
      if (hasRecorded) wakeRelay();
      return step;
    } catch (error) {
      // Without an event it was the database that failed, not the handler.
      if (!event) throw error;
      const attempts = event.attempts + (event.id === charged ? 0 : 1);
      return this.#fail(event, { attempts, ...describe(error) });
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
    await recordFailure(database, consumer, event, failure, 0);
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
      await recordFailure(database, consumer, event, failure, retryInMs);
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

  #backoff(attempts: number): number {
    const { backoffMs } = this.#options;
    const waitMs = backoffMs[Math.min(attempts, backoffMs.length) - 1] ?? 0;
    return Math.round(waitMs * (1 + JITTER * (2 * Math.random() - 1)));
  }
}

/** An error as it is kept. */
export function describe(error: unknown): Omit<Failure, "attempts"> {
  const { type, name, message } = error as { type?: string; name?: string; message?: string };
  return {
    errorType: type ?? name ?? "Error",
    errorMessage: (message ?? String(error)).slice(0, MAX_MESSAGE_LENGTH),
  };
}

/** Without it a handler that never ends would keep its place, and in the end those of all others. */
async function within<T>(timeoutMs: number, handled: Promise<T>): Promise<T> {
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const message = `The handler took longer than ${timeoutMs} ms.`;
  const expire = () => reject(Object.assign(new Error(message), { type: "HANDLER_TIMEOUT" }));
  const timer = setTimeout(expire, timeoutMs);
  try {
    return await Promise.race([handled, expired]);
  } finally {
    clearTimeout(timer);
  }
}
