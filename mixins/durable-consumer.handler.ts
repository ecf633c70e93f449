import type { Service } from "moleculer";
import { IDEMPOTENCY_KEY_HEADER } from "../broker/idempotency-key.middleware.ts";
import { fingerprint } from "../lib/canonical-json.ts";
import type { CloudEvent, DomainEventType } from "../lib/cloud-event.ts";
import { call, type ActionName, type ActionParams, type ActionResult } from "../lib/contracts.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import { actorOf, type Principal } from "../lib/principal.ts";
import { appendEvents, type DomainEvent, type SubjectEvent } from "./unit-of-work.store.ts";

/** An event on its way into a handler, with what the handler may do. */
export interface Delivery<Type extends DomainEventType = DomainEventType> {
  readonly event: CloudEvent<Type>;
  /**
   * What is written through it is committed together with the note that the event is handled, or not at all. A
   * statement that need not be waited for is enlisted.
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

/**
 * Runs a handler in a transaction that is open, and writes the events that it records.
 *
 * @returns whether there are any
 */
export async function runHandler(
  service: Service,
  consumer: string,
  handler: Handler<DomainEventType>,
  event: CloudEvent,
  transaction: DatabaseTransaction,
): Promise<boolean> {
  const principal: Principal = { kind: "service", name: consumer };
  const recorded: SubjectEvent[] = [];
  await handler.call(service, {
    event,
    transaction,
    call: (name, params) =>
      call(service.broker, name, params, {
        requestID: event.requestid,
        meta: { principal },
        headers: { [IDEMPOTENCY_KEY_HEADER]: fingerprint({ consumer, event: event.id, name, params }) },
      }),
    record: (subject, change) => recorded.push({ subject, event: change }),
  });
  if (recorded.length === 0) return false;
  const origin = { actor: actorOf(principal), requestId: event.requestid, now: new Date() };
  transaction.enlist(appendEvents(transaction, recorded, origin));
  return true;
}
