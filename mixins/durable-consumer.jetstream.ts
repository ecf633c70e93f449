import type { Consumer, ConsumerMessages, JsMsg, NatsConnection } from "nats";
import type { Logger } from "pino";
import { Awaited } from "../lib/awaited.ts";
import type { CloudEvent } from "../lib/cloud-event.ts";
import { explained } from "../lib/event-stream.ts";
import { retry, unlessAborted } from "../lib/waiting.ts";
import { countWaiting, ensureConsumer, HEARTBEAT_MS, PULL_MS } from "./durable-consumer.pull.ts";
import type { EventSource, Notice, Verdict } from "./durable-consumer.source.ts";

interface JetStreamSourceOptions {
  consumer: string;
  /** The types that this instance handles, each with the number up to which none is for the consumer. */
  startAfter: ReadonlyMap<string, number>;
  /** Null as long as there is none. */
  connection: () => NatsConnection | null;
  /** Whether there is a relay, which makes the stream. */
  hasRelay: () => boolean;
  log: Logger;
}

const IN_PROGRESS_INTERVAL_MS = 1500;
/**
 * Messages of one type that this instance pulls at once, less those that it has in its hands. While those are more than
 * half as many, of all types, it pulls none. What is in hand at a stop or a crash comes again, as an event that may have
 * ended the process.
 */
const MAX_UNDER_WAY = 250;
/** After this time NATS is asked again that did not answer, or had no stream yet. */
const RETRY_MS = 500;

/**
 * Hears of events from durable pull consumers of JetStream, one for each type, which share them between the instances.
 * So it is given only what it handles: one consumer of several types would be given all there are by servers before
 * NATS 2.10, and an older instance those that only a newer one knows.
 */
export class JetStreamSource implements EventSource {
  readonly #options: JetStreamSourceOptions;
  readonly #stream: Awaited;
  readonly #underWay = new Map<JsMsg, Promise<void>>();
  readonly #stopping = new AbortController();
  readonly #pulls = new Set<ConsumerMessages>();
  #handle: (notice: Notice) => Promise<Verdict> = async () => ({ isDone: false, retryInMs: 0 });
  #running: Promise<unknown> = Promise.resolve();
  #keepAlive: NodeJS.Timeout | undefined;
  #room = Promise.withResolvers<void>();

  constructor(options: JetStreamSourceOptions) {
    this.#options = options;
    this.#stream = new Awaited(options.log.child({ consumer: options.consumer }), {
      waiting: "waiting for the relay to make the stream of events",
      missing: "the stream of events cannot be read",
      back: "the stream of events can be read again",
    });
  }

  start(handle: (notice: Notice) => Promise<Verdict>): void {
    this.#handle = handle;
    this.#keepAlive = setInterval(() => {
      for (const message of this.#underWay.keys()) message.working();
    }, IN_PROGRESS_INTERVAL_MS);
    this.#running = Promise.all([...this.#options.startAfter.keys()].map((type) => this.#follow(type)));
  }

  wake(): void {
    // JetStream delivers by itself.
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#room.resolve();
    await Promise.all([...this.#pulls].map((pull) => pull.close()));
    await this.#running;
    await Promise.all(this.#underWay.values());
    clearInterval(this.#keepAlive);
    // The last acknowledgements have arrived when the connection is closed.
    const connection = this.#options.connection();
    await connection?.flush().catch(() => undefined);
  }

  async lag(): Promise<number> {
    const { consumer, startAfter } = this.#options;
    const connection = this.#connect();
    const types = [...startAfter.keys()];
    const counts = await Promise.all(types.map((type) => countWaiting(connection, consumer, type)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async #follow(type: string): Promise<void> {
    const { signal } = this.#stopping;
    const attempt = async (): Promise<void> => {
      // An answer that was lost with the connection is waited for in vain, for seconds.
      const ensured = ensureConsumer(this.#connect(), this.#options.consumer, type);
      const consumer = await unlessAborted(ensured, signal);
      if (!consumer) return;
      this.#stream.there();
      while (await this.#hasRoom()) await this.#pull(type, consumer);
    };
    const onError = (error: Error): void => {
      if (!signal.aborted) this.#stream.missing(explained(error), this.#options.hasRelay());
    };
    await retry(attempt, { waitMs: RETRY_MS, until: signal, onError });
  }

  /** Waits until there is room for more messages; false when it is time to stop. */
  async #hasRoom(): Promise<boolean> {
    const { signal } = this.#stopping;
    while (this.#underWay.size > MAX_UNDER_WAY / 2 && !signal.aborted) await this.#room.promise;
    return !signal.aborted;
  }

  async #pull(type: string, consumer: Consumer): Promise<void> {
    const messages = await consumer.fetch({
      max_messages: MAX_UNDER_WAY - this.#underWay.size,
      expires: PULL_MS,
      idle_heartbeat: HEARTBEAT_MS,
    });
    // One that is closed before it is read would be read for ever.
    if (this.#stopping.signal.aborted) return void (await messages.close());
    this.#pulls.add(messages);
    try {
      for await (const message of messages) this.#take(type, message);
    } finally {
      this.#pulls.delete(messages);
    }
  }

  #connect(): NatsConnection {
    const connection = this.#options.connection();
    if (!connection) throw new Error("not connected to NATS yet");
    return connection;
  }

  #take(type: string, message: JsMsg): void {
    const settled = this.#settle(type, message).finally(() => {
      this.#underWay.delete(message);
      if (this.#underWay.size > MAX_UNDER_WAY / 2) return;
      this.#room.resolve();
      this.#room = Promise.withResolvers();
    });
    this.#underWay.set(message, settled);
  }

  async #settle(type: string, message: JsMsg): Promise<void> {
    const notice = this.#toNotice(message);
    const startAfter = this.#options.startAfter.get(type) ?? 0;
    if (!notice || notice.sequence <= startAfter) return message.ack();
    const { isDone, retryInMs } = await this.#handle(notice);
    if (isDone) message.ack();
    else message.nak(retryInMs);
  }

  /** @returns undefined for a message that is no event */
  #toNotice(message: JsMsg): Notice | undefined {
    try {
      const { subject, sequence } = message.json<CloudEvent>();
      if (typeof subject !== "string" || !(Number(sequence) > 0))
        throw new Error("it has no subject or sequence");
      return { subject, sequence: Number(sequence), isRepeated: message.redelivered };
    } catch (error) {
      this.#options.log.error(
        { err: error, subject: message.subject },
        "a message of the stream is no event",
      );
      return undefined;
    }
  }
}
