import type { Service, ServiceSchema } from "moleculer";
import type { Node } from "../bootstrap/node.ts";
import { natsConnectionOf } from "../broker/nats-link.ts";
import type { CloudEvent, DomainEventType } from "../lib/cloud-event.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import { repeat, retry, Wakeup } from "../lib/waiting.ts";
import { Attempts } from "./durable-consumer.attempt.ts";
import { Deliveries } from "./durable-consumer.deliveries.ts";
import { runHandler, type Handler } from "./durable-consumer.handler.ts";
import { JetStreamSource } from "./durable-consumer.jetstream.ts";
import { LogSource } from "./durable-consumer.log.ts";
import { Replays } from "./durable-consumer.replay.ts";
import type { EventSource } from "./durable-consumer.source.ts";
import { register, REGISTER_INTERVAL_MS } from "./durable-consumer.store.ts";
import { relayWakeupOf } from "./unit-of-work.wakeup.ts";

export interface DurableConsumerOptions<Type extends DomainEventType, This = Service> {
  /** Unique in the system, for ever: what is remembered is remembered under it. Instances with one name share the work. */
  name: string;
  /** Types of the events that it handles. One that is added later begins at that time. */
  events: readonly [Type, ...Type[]];
  handler: Handler<Type, This>;
  /** Where a consumer begins that is new: at the oldest event of the log, or with what comes from now on. */
  startFrom?: "beginning" | "now";
  /** After so many failed attempts an event becomes a dead letter. */
  maxDeliver?: number;
  /** Waits in milliseconds after the first, second, … failure, spread by a fifth; the last one goes for all that follow. */
  backoff?: readonly number[];
  /** After so many milliseconds a handler that has not ended has failed: 60,000. What it still writes is refused. */
  timeout?: number;
  /** How many resources one instance works on at the same time; each takes a connection of the database. */
  concurrency?: number;
}

/** What of a node a consumer needs. */
type ConsumerNode = Pick<Node, "config" | "log" | "database" | "metrics">;

const DEFAULT_BACKOFF_MS = [1000, 5000, 30_000, 120_000];
const NAME = /^[a-z][a-z0-9-]{0,62}$/;
const START_RETRY_MS = 1000;
const DEFAULT_TIMEOUT_MS = 60_000;

/**
 * Gives a service a durable consumer: each event of these types is handled by one of its instances, in its order among
 * the events of its resource, whatever fails. What the handler writes through its transaction happens once; an event
 * that fails comes again and holds back only its own resource; in the end it becomes a dead letter.
 *
 * It hears of events from JetStream, or from the log itself on a node without NATS_URL.
 *
 * @throws Error when the name is no name
 */
export function durableConsumer<Type extends DomainEventType, This = Service>(
  node: ConsumerNode,
  options: DurableConsumerOptions<Type, This>,
): Partial<ServiceSchema> {
  if (!NAME.test(options.name)) throw new Error(`'${options.name}' is no name for a durable consumer.`);
  let consumer: DurableConsumer | undefined;
  return {
    events: {
      // JetStream tells of events by itself.
      ...(!node.config.NATS_URL && { "events-appended": { handler: () => consumer?.wake() } }),
      "dead-letter-replay-requested": { handler: () => consumer?.wakeReplays() },
    },
    async started(this: Service) {
      // The types of the events and of `this` are checked where the consumer is declared.
      consumer = new DurableConsumer(
        node,
        options as unknown as DurableConsumerOptions<DomainEventType>,
        this,
      );
      consumer.start();
    },
    async stopped() {
      await consumer?.stop();
    },
  };
}

class DurableConsumer {
  readonly #node: ConsumerNode;
  readonly #options: DurableConsumerOptions<DomainEventType>;
  readonly #service: Service;
  readonly #deliveries: Deliveries;
  readonly #replays: Replays;
  readonly #stopping = new AbortController();
  #source: EventSource | undefined;
  #running: Promise<void> | undefined;

  constructor(node: ConsumerNode, options: DurableConsumerOptions<DomainEventType>, service: Service) {
    const { name: consumer, events: types, handler, maxDeliver = 5, concurrency = 4 } = options;
    const { database, log, config } = node;
    const runner = {
      service,
      consumer,
      handler,
      timeoutMs: options.timeout ?? DEFAULT_TIMEOUT_MS,
      idleTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
      wakeRelay: relayWakeupOf(database),
    };
    this.#node = node;
    this.#options = options;
    this.#service = service;
    const parts = {
      consumer,
      types,
      database,
      log,
      handle: (event: CloudEvent, transaction: DatabaseTransaction) => runHandler(runner, event, transaction),
    };
    const attempts = new Attempts({
      ...parts,
      maxDeliver,
      backoffMs: options.backoff ?? DEFAULT_BACKOFF_MS,
      metrics: node.metrics?.consumers,
    });
    this.#deliveries = new Deliveries({
      log,
      concurrency,
      step: (subject, through, approach) => attempts.next(subject, through, approach),
    });
    this.#replays = new Replays(parts);
  }

  /** Does not wait: a database or stream that is away must not keep the node from starting. */
  start(): void {
    this.#running = this.#run();
  }

  /** The log has grown. */
  wake(): void {
    this.#source?.wake();
  }

  /** Dead letters are to be replayed. */
  wakeReplays(): void {
    this.#replays.wake();
  }

  /** What is being handled is finished; what is not is left to other instances, or to the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    // First, lest what is given back comes to this instance again.
    const sourceStopped = this.#source?.stop();
    this.#deliveries.stop();
    await Promise.all([sourceStopped, this.#replays.stop()]);
  }

  async #run(): Promise<void> {
    const { name } = this.#options;
    const { log, metrics } = this.#node;
    const until = this.#stopping.signal;
    this.#source = await retry(() => this.#createSource(), {
      waitMs: START_RETRY_MS,
      until,
      onError: (error) => log.warn({ err: error, consumer: name }, "a durable consumer cannot start yet"),
    });
    const source = this.#source;
    if (!source) return;
    metrics?.consumers.watch(name, () => source.lag());
    source.start((notice) => this.#deliveries.handle(notice));
    this.#replays.start();
    await repeat(() => this.#register().then(() => undefined), {
      wakeup: new Wakeup(),
      everyMs: REGISTER_INTERVAL_MS,
      until,
      onError: (error) => log.debug({ err: error, consumer: name }, "a durable consumer could not register"),
    });
  }

  #register(): Promise<ReadonlyMap<string, number>> {
    const { name, events, startFrom = "beginning" } = this.#options;
    return register(this.#node.database, name, events, startFrom);
  }

  async #createSource(): Promise<EventSource> {
    const { name: consumer } = this.#options;
    const { database, log, config } = this.#node;
    const startAfter = await this.#register();
    if (!config.NATS_URL) return new LogSource({ consumer, startAfter, database, log });
    const { broker } = this.#service;
    return new JetStreamSource({
      consumer,
      startAfter,
      connection: () => natsConnectionOf(broker),
      hasRelay: () => broker.registry.actions.isAvailable("events.status"),
      log,
    });
  }
}
