import {
  AckPolicy,
  DeliverPolicy,
  nanos,
  type Consumer,
  type ConsumerMessages,
  type JetStreamManager,
  type JsMsg,
  type NatsConnection,
} from "nats";
import type { Logger } from "pino";
import type { CloudEvent } from "../lib/cloud-event.ts";
import { EVENT_STREAM } from "../lib/event-stream.ts";
import { pause } from "../lib/waiting.ts";
import { LEFT_TO_NEWER_MS } from "./durable-consumer.attempt.ts";
import { DONE, type EventSource, type Notice, type Verdict } from "./durable-consumer.source.ts";
import type { Subscription } from "./durable-consumer.subscription.ts";

interface JetStreamSourceOptions {
  consumer: string;
  types: readonly string[];
  subscription: Subscription;
  /** Events up to this number are not for the consumer. */
  startAfter: number;
  /** Null as long as there is none. */
  connection: () => NatsConnection | null;
  log: Logger;
}

/**
 * A message that is neither acknowledged nor said to be in progress for so long is given out again, as the process
 * that had it has died.
 */
const ACK_WAIT_MS = 5000;
const IN_PROGRESS_INTERVAL_MS = 1500;
/** How long one pull waits for messages. */
const PULL_MS = 5000;
const HEARTBEAT_MS = 1000;
/** Messages that this instance has in its hands: no more are pulled until half of them are settled. */
const MAX_UNDER_WAY = 500;
/** Of all instances, with those that wait for another attempt. */
const MAX_ACK_PENDING = 20_000;
/** After this time NATS is asked again that did not answer, or had no stream yet. */
const RETRY_MS = 500;

/** Hears of events from a durable pull consumer of JetStream, which shares them between the instances. */
export class JetStreamSource implements EventSource {
  readonly #options: JetStreamSourceOptions;
  readonly #underWay = new Map<JsMsg, Promise<void>>();
  readonly #stopping = new AbortController();
  #handle: (notice: Notice) => Promise<Verdict> = async () => ({ isDone: false, retryInMs: 0 });
  #messages: ConsumerMessages | undefined;
  #running: Promise<void> = Promise.resolve();
  #keepAlive: NodeJS.Timeout | undefined;
  #onRoom: () => void = () => undefined;

  constructor(options: JetStreamSourceOptions) {
    this.#options = options;
  }

  start(handle: (notice: Notice) => Promise<Verdict>): void {
    this.#handle = handle;
    this.#keepAlive = setInterval(() => {
      for (const message of this.#underWay.keys()) message.working();
    }, IN_PROGRESS_INTERVAL_MS);
    this.#running = this.#run();
  }

  wake(): void {
    // JetStream delivers by itself.
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#onRoom();
    await this.#messages?.close();
    await this.#running;
    await Promise.all(this.#underWay.values());
    clearInterval(this.#keepAlive);
    // The last acknowledgements have arrived when the connection is closed.
    const connection = this.#options.connection();
    await connection?.flush().catch(() => undefined);
  }

  async lag(): Promise<number> {
    const manager = await this.#manager();
    const { num_pending, num_ack_pending } = await manager.consumers.info(
      EVENT_STREAM,
      this.#options.consumer,
    );
    return num_pending + num_ack_pending;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let lastReason = "";
    while (!signal.aborted) {
      try {
        const consumer = await this.#ensureConsumer();
        lastReason = "";
        while (!signal.aborted) await this.#pull(consumer);
      } catch (error) {
        const reason = (error as Error).message;
        // Once, not every time that it is tried again.
        if (reason !== lastReason)
          this.#options.log.warn({ err: error }, "the stream of events cannot be read");
        lastReason = reason;
        await pause(RETRY_MS, signal);
      }
    }
  }

  async #manager(): Promise<JetStreamManager> {
    const connection = this.#options.connection();
    if (!connection) throw new Error("not connected to NATS yet");
    return connection.jetstreamManager({ checkAPI: false });
  }

  /** Also for a consumer that was lost with its stream: it begins anew, and what was handled is known by the inbox. */
  async #ensureConsumer(): Promise<Consumer> {
    const { consumer: name, subscription } = this.#options;
    const [type, ...others] = await subscription.types();
    const manager = await this.#manager();
    await manager.consumers.add(EVENT_STREAM, {
      durable_name: name,
      deliver_policy: DeliverPolicy.All,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(ACK_WAIT_MS),
      max_ack_pending: MAX_ACK_PENDING,
      // Attempts are counted in the database: a message is given out for other reasons too.
      max_deliver: -1,
      filter_subject: others.length > 0 ? "events.>" : `events.${type}.*`,
    });
    return manager.jetstream().consumers.get(EVENT_STREAM, name);
  }

  async #pull(consumer: Consumer): Promise<void> {
    if (this.#underWay.size > MAX_UNDER_WAY / 2)
      await new Promise<void>((resolve) => (this.#onRoom = resolve));
    if (this.#stopping.signal.aborted) return;
    const messages = await consumer.fetch({
      max_messages: MAX_UNDER_WAY - this.#underWay.size,
      expires: PULL_MS,
      idle_heartbeat: HEARTBEAT_MS,
    });
    this.#messages = messages;
    if (this.#stopping.signal.aborted) await messages.close();
    for await (const message of messages) this.#take(message);
  }

  #take(message: JsMsg): void {
    const settled = this.#settle(message).finally(() => {
      this.#underWay.delete(message);
      if (this.#underWay.size <= MAX_UNDER_WAY / 2) this.#onRoom();
    });
    this.#underWay.set(message, settled);
  }

  async #settle(message: JsMsg): Promise<void> {
    const notice = this.#read(message);
    if (!notice || notice.sequence <= this.#options.startAfter) return message.ack();
    const { isDone, retryInMs } = this.#options.types.includes(notice.type)
      ? await this.#handle(notice)
      : await this.#leave(notice);
    if (isDone) message.ack();
    else message.nak(retryInMs);
  }

  /** Leaves an event of a type that this instance does not know to a newer one, if it is for the consumer at all. */
  async #leave({ type, sequence }: { type: string; sequence: number }): Promise<Verdict> {
    try {
      if (!(await this.#options.subscription.includes(type, sequence))) return DONE;
    } catch (error) {
      this.#options.log.debug({ err: error }, "the subscription cannot be looked at");
    }
    return { isDone: false, retryInMs: LEFT_TO_NEWER_MS };
  }

  /** @returns undefined for a message that is no event */
  #read(message: JsMsg): (Notice & { type: string }) | undefined {
    try {
      const { type, subject, sequence } = message.json<CloudEvent>();
      return { type, subject, sequence: Number(sequence), isRepeated: message.redelivered };
    } catch (error) {
      this.#options.log.error(
        { err: error, subject: message.subject },
        "a message of the stream is no event",
      );
      return undefined;
    }
  }
}
