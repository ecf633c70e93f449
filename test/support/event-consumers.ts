import type { Service, ServiceBroker, ServiceSchema } from "moleculer";
import { connect, type NatsConnection } from "nats";
import pg from "pg";
import type { Logger } from "pino";

import { NodeMetrics } from "../../broker/metrics.ts";
import { LOGGED_EVENT_COLUMNS, toCloudEvent, type LoggedEvent } from "../../lib/cloud-event.ts";
import { loadConfig } from "../../lib/config.ts";
import { Database } from "../../lib/database.ts";
import { newId } from "../../lib/ids.ts";
import { durableConsumer, type DurableConsumerOptions } from "../../mixins/durable-consumer.mixin.ts";
import { createTestDatabase, type TestDatabase } from "./databases.ts";
import { startNats } from "./nats.ts";
import type { TestServer } from "./server-process.ts";
import { silentLogger } from "./silent-logger.ts";
import { createTestBroker } from "./test-broker.ts";
import { waitFor } from "./wait-for.ts";

type EventType = "user-created_v1" | "user-updated_v1" | "user-deleted_v1";
export type ConsumerOptions = Partial<DurableConsumerOptions<EventType>> & { name: string };
export type TestDelivery = Parameters<DurableConsumerOptions<EventType>["handler"]>[0];

/** What a handler wrote, in the order in which that was committed. */
export interface Effect {
  readonly eventId: string;
  readonly subject: string;
  readonly sequence: number;
  /** Which instance did it. */
  readonly instance: string;
}

/** An event that was appended to the log. */
export type Appended = Pick<LoggedEvent, "id" | "subject" | "sequence">;

/** A process of a consumer, in this process. */
export interface Instance {
  readonly broker: ServiceBroker;
  /** A value of its metrics. */
  metric(name: string): Promise<number>;
  /** As a node stops. */
  stop(): Promise<void>;
}

const CREATE_EFFECTS = `
  CREATE TABLE public.effects (
    position bigint GENERATED ALWAYS AS IDENTITY, consumer text, instance text,
    event_id uuid, subject uuid, sequence bigint
  )`;
const INSERT_EFFECT = {
  text: `INSERT INTO public.effects (consumer, instance, event_id, subject, sequence) VALUES ($1, $2, $3, $4, $5)`,
};
const NUMBER_AND_APPEND = `
  WITH numbered AS (UPDATE events.relay SET head = head + 1 RETURNING head)
  INSERT INTO events.log (sequence, id, type, subject, data, actor, request_id, changed_fields, occurred_at)
  SELECT head, $1, $2, $3, jsonb_build_object('id', $3::uuid), 'user:1', 'request-' || head, '{}', now()
  FROM numbered RETURNING ${LOGGED_EVENT_COLUMNS}`;

/** A log with its stream, and consumers of it whose handlers write into a table. */
export class EventConsumers {
  /** Undefined for consumers that hear of events from the log. */
  readonly nats: TestServer | undefined;
  readonly #database: TestDatabase;
  readonly #client: pg.Client;
  readonly #link: NatsConnection | undefined;
  #instances: Instance[] = [];

  private constructor(
    database: TestDatabase,
    client: pg.Client,
    nats: TestServer | undefined,
    link: NatsConnection | undefined,
  ) {
    this.#database = database;
    this.#client = client;
    this.nats = nats;
    this.#link = link;
  }

  /** @param useNats whether the consumers hear of events from JetStream */
  static async start({ useNats }: { useNats: boolean }): Promise<EventConsumers> {
    const database = await createTestDatabase();
    const client = new pg.Client(database.url);
    await client.connect();
    await client.query(CREATE_EFFECTS);
    const nats = useNats ? await startNats({ jetStream: true }) : undefined;
    const link =
      nats && (await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 }));
    const consumers = new EventConsumers(database, client, nats, link);
    await consumers.createStream();
    return consumers;
  }

  get databaseUrl(): string {
    return this.#database.url;
  }

  async createStream(): Promise<void> {
    const manager = await this.#link?.jetstreamManager();
    await manager?.streams.add({ name: "EVENTS", subjects: ["events.>"] });
  }

  async deleteStream(): Promise<void> {
    const manager = await this.#link?.jetstreamManager();
    await manager?.streams.delete("EVENTS");
  }

  /** Deletes all that JetStream knows of a durable consumer. */
  async deleteConsumer(name: string): Promise<void> {
    const manager = await this.#link?.jetstreamManager();
    for await (const { name: ofOneType } of manager?.consumers.list("EVENTS") ?? [])
      if (ofOneType.startsWith(`${name}_`)) await manager?.consumers.delete("EVENTS", ofOneType);
  }

  async sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> {
    return (await this.#client.query<Row>(text, values)).rows;
  }

  /** Appends one event for each subject, in this order, and publishes it or says that the log has grown. */
  async append(subjects: readonly string[], type: EventType = "user-updated_v1"): Promise<Appended[]> {
    const appended: Appended[] = [];
    for (const subject of subjects) {
      const [event] = await this.sql<LoggedEvent>(NUMBER_AND_APPEND, [newId(), type, subject]);
      if (!event) throw new Error("nothing was appended");
      await this.#publish(event, event.id);
      appended.push(event);
    }
    for (const { broker } of this.#instances) void broker.broadcastLocal("events-appended", { sequence: 0 });
    return appended;
  }

  /** Gives every event of the log out again: as a replay to the stream, or to readers that forgot where they were. */
  async giveOutAgain(): Promise<void> {
    const events = await this.sql<LoggedEvent>(
      `SELECT ${LOGGED_EVENT_COLUMNS} FROM events.log ORDER BY log.sequence`,
    );
    for (const event of events) await this.#publish(event, newId());
    await this.sql("UPDATE events.consumer SET position = 0");
  }

  async publishRaw(subject: string, payload: string): Promise<void> {
    await this.#link?.jetstream().publish(subject, payload);
  }

  /** Starts an instance of a consumer. What the test gives as its handler runs before the effect is written. */
  async instance(options: ConsumerOptions, instance = "one", log = silentLogger): Promise<Instance> {
    const started = await startInstance(options, instance, log, this.#database.url, this.nats?.url);
    this.#instances.push(started);
    return started;
  }

  effects(consumer: string): Promise<Effect[]> {
    return this.sql<Effect>(
      `SELECT event_id AS "eventId", subject, sequence::float8 AS sequence, instance
       FROM public.effects WHERE consumer = $1 ORDER BY position`,
      [consumer],
    );
  }

  /** Waits for so many effects, and returns them. */
  async untilEffects(consumer: string, count: number): Promise<Effect[]> {
    await waitFor(async () => (await this.effects(consumer)).length >= count, {
      description: `${count} effects of ${consumer}`,
      timeoutMs: 60_000,
    });
    return this.effects(consumer);
  }

  /** Waits until an instance says that no event waits for its consumer. */
  async untilNothingWaits(instance: Instance): Promise<void> {
    await waitFor(async () => (await instance.metric("events_consumer_lag")) === 0, {
      description: "the lag to be 0",
      timeoutMs: 60_000,
    });
  }

  /** Waits until some instance has subscribed the consumer to so many types of events. */
  async untilRegistered(consumer: string, types = 1): Promise<void> {
    const find = "SELECT FROM events.subscription WHERE consumer = $1";
    await waitFor(async () => (await this.sql(find, [consumer])).length >= types, {
      description: "the consumer to be registered",
    });
  }

  async stopInstances(): Promise<void> {
    await Promise.all(this.#instances.map((instance) => instance.stop()));
    this.#instances = [];
  }

  async stop(): Promise<void> {
    await this.stopInstances();
    await Promise.all([this.#client.end(), this.#link?.close()]);
    await Promise.all([this.#database.drop(), this.nats?.stop()]);
  }

  async #publish(event: LoggedEvent, messageId: string): Promise<void> {
    const subject = `events.${event.type}.${event.subject}`;
    const payload = JSON.stringify(toCloudEvent(event));
    // Again and again, as the relay does while NATS is away.
    const publish = () =>
      this.#link?.jetstream().publish(subject, payload, { msgID: messageId, timeout: 2000 });
    if (this.#link) await waitFor(publish, { description: "the event to be published" });
  }
}

async function startInstance(
  options: ConsumerOptions,
  instance: string,
  log: Logger,
  databaseUrl: string,
  natsUrl: string | undefined,
): Promise<Instance> {
  const settings = {
    SERVICES: "none",
    NODE_ID: `${options.name}-${instance}`.slice(-64),
    ...(natsUrl && { NATS_URL: natsUrl }),
  };
  const config = loadConfig({ SECRET: "0".repeat(32), DATABASE_URL: databaseUrl, ...settings });
  const database = new Database({ ...config, DATABASE_URL: databaseUrl }, log);
  const metrics = new NodeMetrics(config.NODE_ID);
  const broker = createTestBroker(settings);
  const { handler } = options;
  const mixin = durableConsumer<EventType>(
    { config, log, database, metrics },
    {
      events: ["user-created_v1", "user-updated_v1", "user-deleted_v1"],
      maxDeliver: 3,
      backoff: [50, 100],
      ...options,
      async handler(this: Service, delivery) {
        await handler?.call(this, delivery);
        const { id, subject, sequence } = delivery.event;
        const values = [options.name, instance, id, subject, Number(sequence)];
        delivery.transaction.enlist(delivery.transaction.query(INSERT_EFFECT, values));
      },
    },
  );
  broker.createService({ name: "probe", mixins: [mixin] } as ServiceSchema);
  await broker.start();
  let stopped: Promise<void> | undefined;
  return {
    broker,
    async metric(name) {
      const found = await metrics.registry.getSingleMetric(name)?.get();
      return found?.values.find(({ labels }) => labels["consumer"] === options.name)?.value ?? NaN;
    },
    stop: () => (stopped ??= broker.stop().then(() => database.close())),
  };
}
