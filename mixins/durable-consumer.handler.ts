import type { Service } from "moleculer";
import { IDEMPOTENCY_KEY_HEADER } from "../broker/idempotency-key.middleware.ts";
import { fingerprint } from "../lib/canonical-json.ts";
import type { CloudEvent, DomainEventType } from "../lib/cloud-event.ts";
import { call, type ActionName, type ActionParams, type ActionResult } from "../lib/contracts.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import { actorOf, type Principal } from "../lib/principal.ts";
import { within } from "../lib/waiting.ts";
import { appendEvents, type DomainEvent, type SubjectEvent } from "./unit-of-work.store.ts";

/** An event on its way into a handler, with what the handler may do. */
export interface Delivery<Type extends DomainEventType = DomainEventType> {
  readonly event: CloudEvent<Type>;
  /**
   * What is written through it is committed together with the note that the event is handled, or not at all. A
   * statement that need not be waited for is enlisted; what others are to be told of it waits for `afterCommit`.
   */
  readonly transaction: DatabaseTransaction;
  /**
   * Calls an action as the service that the consumer is, under the request id of the event. A write is done once,
   * however often the handler runs: its idempotency key is made from the event and the parameters.
   *
   * @throws a Moleculer error; those of ours have their code in `type`
   */
  readonly call: <Name extends ActionName>(
    name: Name,
    params: ActionParams<Name>,
  ) => Promise<ActionResult<Name>>;
  /** Appends an event to the outbox, to be sent if and only if the transaction commits. */
  readonly record: (subject: string, event: DomainEvent) => void;
}

/** Handles one event. What it throws undoes what it has written, and the event comes again. */
export type Handler<Type extends DomainEventType, This = Service> = (
  this: This,
  delivery: Delivery<Type>,
) => Promise<unknown>;

/** Whose handler it is, and how it is run. */
interface Runner {
  service: Service;
  consumer: string;
  handler: Handler<DomainEventType>;
  /** One that takes longer has failed. */
  timeoutMs: number;
  /** A transaction that sends nothing for so long is ended by the database. */
  idleTimeoutMs: number;
  /** Tells the relay of events that are committed. */
  wakeRelay: () => void;
}

/**
 * Runs a handler in a transaction that is open, and writes the events that it records.
 *
 * @throws what the handler throws, and HANDLER_TIMEOUT
 */
export async function runHandler(
  { service, consumer, handler, timeoutMs, idleTimeoutMs, wakeRelay }: Runner,
  event: CloudEvent,
  transaction: DatabaseTransaction,
): Promise<void> {
  const principal: Principal = { kind: "service", name: consumer };
  const recorded: SubjectEvent[] = [];
  const delivery: Delivery = {
    event,
    transaction,
    call: (name, params) =>
      call(service.broker, name, params, {
        requestID: event.requestid,
        meta: { principal },
        headers: { [IDEMPOTENCY_KEY_HEADER]: fingerprint({ consumer, event: event.id, name, params }) },
      }),
    record: (subject, change) => recorded.push({ subject, event: change }),
  };
  const running = keepingAlive(transaction, idleTimeoutMs / 3, () => handler.call(service, delivery));
  await within(timeoutMs, running, () => expire(timeoutMs));
  if (recorded.length === 0) return;
  const origin = { actor: actorOf(principal), requestId: event.requestid, now: new Date() };
  transaction.enlist(appendEvents(transaction, recorded, origin));
  transaction.afterCommit(wakeRelay);
}

/** Without it a handler that never ends would keep its place, and in the end those of all others. */
function expire(timeoutMs: number): never {
  const message = `The handler took longer than ${timeoutMs} ms.`;
  throw Object.assign(new Error(message), { type: "HANDLER_TIMEOUT" });
}

const KEEP_ALIVE = { name: "durable-consumer.keep-alive", text: "SELECT" };

/**
 * Lets a handler wait for others than the database. That goes on ending transactions that are idle: a process that is
 * frozen, or whose host is gone, must not keep its resource from the other instances.
 */
async function keepingAlive(
  transaction: DatabaseTransaction,
  everyMs: number,
  work: () => Promise<unknown>,
): Promise<void> {
  // It fails when the transaction is over before the handler is.
  const stop = (): void => clearInterval(timer);
  const timer = setInterval(() => void transaction.query(KEEP_ALIVE, []).catch(stop), everyMs);
  try {
    await work();
  } finally {
    stop();
  }
}
