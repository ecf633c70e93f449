import {
  AckPolicy,
  DeliverPolicy,
  nanos,
  type Consumer,
  type JetStreamManager,
  type NatsConnection,
} from "nats";
import { EVENT_STREAM } from "../lib/event-stream.ts";

/**
 * A message that is neither acknowledged nor said to be in progress for so long is given out again, as the process
 * that had it has died.
 */
const ACK_WAIT_MS = 5000;
/** Of all instances, with those that wait for another attempt. */
const MAX_ACK_PENDING = 20_000;
/** How long one pull waits for messages. */
export const PULL_MS = 5000;
export const HEARTBEAT_MS = 1000;

/** Also for one that was lost with its stream: it begins anew, and what was handled is known by the inbox. */
export async function ensureConsumer(
  connection: NatsConnection,
  consumer: string,
  type: string,
): Promise<Consumer> {
  const durable_name = nameOf(consumer, type);
  const manager = await managerOf(connection);
  await manager.consumers.add(EVENT_STREAM, {
    durable_name,
    deliver_policy: DeliverPolicy.All,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ACK_WAIT_MS),
    max_ack_pending: MAX_ACK_PENDING,
    // Attempts are counted in the database: a message is given out for other reasons too.
    max_deliver: -1,
    filter_subject: `events.${type}.*`,
  });
  return manager.jetstream().consumers.get(EVENT_STREAM, durable_name);
}

/** How many messages of a type are not acknowledged yet. */
export async function countWaiting(
  connection: NatsConnection,
  consumer: string,
  type: string,
): Promise<number> {
  const manager = await managerOf(connection);
  const { num_pending, num_ack_pending } = await manager.consumers.info(EVENT_STREAM, nameOf(consumer, type));
  return num_pending + num_ack_pending;
}

/** Neither has an underscore before the version of the type, so two pairs never share a name. */
function nameOf(consumer: string, type: string): string {
  return `${consumer}_${type}`;
}

function managerOf(connection: NatsConnection): Promise<JetStreamManager> {
  return connection.jetstreamManager({ checkAPI: false });
}
