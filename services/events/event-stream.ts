import {
  DiscardPolicy,
  nanos,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type NatsConnection,
  type StreamAPI,
  type StreamConfig,
} from "nats";
import { byReference, toCloudEvent } from "../../lib/cloud-event.ts";
import { EVENT_STREAM, explained } from "../../lib/event-stream.ts";
import { EVENT_TYPES } from "./events.contract.ts";
import type { UnpublishedEvent } from "./events.repository.ts";
import { publishInOrder, type OutgoingMessage, type PublishResult } from "./publish-in-order.ts";

/** How long the stream remembers message ids: an event that is sent again within it is stored once. */
const DUPLICATE_WINDOW_MS = 5 * 60_000;

/** Below the timeout of a call, since the status of the stream is part of an answer. */
const TIMEOUT_MS = 2000;

/** How often it is looked whether the stream is still there, while nothing is published. */
const CHECK_INTERVAL_MS = 5000;

/** Most of a message that its headers and the protocol take. */
const HEADER_BYTES = 512;

const DAY_MS = 86_400_000;

interface EventStreamOptions {
  /** The connection of the node, when there is one. */
  connection: () => NatsConnection | null;
  /** Whether that connection works. */
  isUp: () => boolean;
  replicas: number;
  retentionDays: number;
}

/** The JetStream stream `EVENTS`: one message for each event, under `events.<type>.<subject id>`. */
export class EventStream {
  readonly #options: EventStreamOptions;
  #checkedAt = -Infinity;

  constructor(options: EventStreamOptions) {
    this.#options = options;
  }

  /**
   * Publishes events, in order for each subject.
   *
   * @param mayPublish asked before each event is sent
   */
  async publish(events: readonly UnpublishedEvent[], mayPublish: () => boolean): Promise<PublishResult> {
    try {
      const connection = await this.#ensure();
      const maxBytes = (connection.info?.max_payload ?? Infinity) - HEADER_BYTES;
      const messages = events.map((event) => this.#toMessage(event, maxBytes));
      const result = await publishInOrder(connection, messages, { timeoutMs: TIMEOUT_MS, mayPublish });
      // It may be that the stream is gone.
      if (result.error) this.#checkedAt = -Infinity;
      return result;
    } catch (error) {
      return { positions: [], error: explained(error) };
    }
  }

  #toMessage(event: UnpublishedEvent, maxBytes: number): OutgoingMessage {
    const { type, subject, id, replay } = event;
    return {
      subject: `events.${type}.${subject}`,
      orderKey: subject,
      // A replay needs another id than before, or the stream would take its message for a duplicate.
      id: replay === 0 ? id : `${id}:${replay}`,
      payload: toPayload(event, maxBytes),
    };
  }

  /** How many messages the stream has; null when it cannot be asked. */
  async countMessages(): Promise<number | null> {
    try {
      const manager = await this.#manager();
      return (await manager.streams.info(EVENT_STREAM)).state.messages;
    } catch {
      return null;
    }
  }

  /**
   * Deletes what the stream has of a subject before one of its messages, also on the disk: a purge would leave it there.
   * Type by type, which the server has an index for; with a wildcard it would read the whole stream.
   *
   * @throws the reason of the signal, and the errors of NATS
   */
  async forget(subject: string, before: number, until: AbortSignal): Promise<void> {
    const { streams } = await this.#manager();
    await Promise.all(
      EVENT_TYPES.map((type) =>
        deleteMessages(streams, { next_by_subj: `events.${type}.${subject}`, before, until }),
      ),
    );
  }

  /** Makes the stream, or changes it to what the settings say, unless it was just seen to be right. */
  async #ensure(): Promise<NatsConnection> {
    const connection = this.#connect();
    if (performance.now() < this.#checkedAt + CHECK_INTERVAL_MS) return connection;
    const manager = await this.#manager();
    const wanted = this.#config();
    const current = await findStream(manager);
    if (!current) await manager.streams.add(wanted);
    else if (differs(current, wanted)) await manager.streams.update(EVENT_STREAM, { ...current, ...wanted });
    this.#checkedAt = performance.now();
    return connection;
  }

  #config(): Partial<StreamConfig> & Pick<StreamConfig, "name"> {
    const { replicas, retentionDays } = this.#options;
    return {
      name: EVENT_STREAM,
      subjects: ["events.>"],
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      num_replicas: replicas,
      max_age: nanos(retentionDays * DAY_MS),
      duplicate_window: nanos(DUPLICATE_WINDOW_MS),
    };
  }

  #manager(): Promise<JetStreamManager> {
    return this.#connect().jetstreamManager({ checkAPI: false, timeout: TIMEOUT_MS });
  }

  /** @throws Error while the connection does not work: what is published then would be sent at any later time */
  #connect(): NatsConnection {
    const connection = this.#options.connection();
    if (!connection || !this.#options.isUp()) throw new Error("NATS cannot be reached.");
    return connection;
  }
}

/** An event that is too large for NATS goes without its data, which would hold up all that come after it. */
function toPayload(event: UnpublishedEvent, maxBytes: number): Uint8Array {
  const whole = toCloudEvent(event);
  const payload = Buffer.from(JSON.stringify(whole));
  return payload.length <= maxBytes ? payload : Buffer.from(JSON.stringify(byReference(whole)));
}

async function findStream(manager: JetStreamManager): Promise<StreamConfig | undefined> {
  return (await unlessMissing(manager.streams.info(EVENT_STREAM)))?.config;
}

async function deleteMessages(
  streams: StreamAPI,
  { next_by_subj, before, until }: { next_by_subj: string; before: number; until: AbortSignal },
): Promise<void> {
  for (;;) {
    until.throwIfAborted();
    // Its types do not know this question yet, which servers do since 2.9. From the start each time: from elsewhere the
    // server would search without its index.
    const query = { seq: 1, next_by_subj };
    const message = await unlessMissing(streams.getMessage(EVENT_STREAM, query as { seq: number }));
    if (!message || message.seq >= before) return;
    await streams.deleteMessage(EVENT_STREAM, message.seq, true);
  }
}

const NOT_FOUND = "404";

async function unlessMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if ((error as { code?: unknown }).code === NOT_FOUND) return undefined;
    throw error;
  }
}

function differs(current: StreamConfig, wanted: Partial<StreamConfig>): boolean {
  const keys = Object.keys(wanted) as (keyof StreamConfig)[];
  return keys.some((key) => JSON.stringify(current[key]) !== JSON.stringify(wanted[key]));
}
