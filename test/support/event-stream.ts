import { connect, type JsMsg, type NatsConnection } from "nats";

import type { CloudEvent } from "../../lib/cloud-event.ts";
import { waitFor } from "./wait-for.ts";

const STREAM = "EVENTS";

/** A message of the stream of events. */
export interface StreamMessage {
  readonly subject: string;
  /** By which the stream finds duplicates. */
  readonly messageId: string;
  readonly event: CloudEvent;
}

/** The stream `EVENTS` of a NATS server, past the product. Each look has a connection of its own. */
export interface StreamReader {
  /** Every message, in the order of the stream; none when there is no stream. */
  messages(): Promise<StreamMessage[]>;
  /** The messages, once there are at least so many. */
  atLeast(count: number, timeoutMs?: number): Promise<StreamMessage[]>;
  /** Deletes the stream, as a wiped disk would. */
  remove(): Promise<void>;
}

export function readStream(natsUrl: string): StreamReader {
  const messages = (): Promise<StreamMessage[]> => withConnection(natsUrl, readAll);
  return {
    messages,
    async atLeast(count, timeoutMs = 30_000) {
      let all: StreamMessage[] = [];
      const isEnough = async (): Promise<boolean> => (all = await messages()).length >= count;
      await waitFor(isEnough, { description: `${count} messages in the stream`, timeoutMs });
      return all;
    },
    remove: () =>
      withConnection(natsUrl, async (connection) => {
        await (await connection.jetstreamManager()).streams.delete(STREAM);
      }),
  };
}

async function withConnection<T>(url: string, work: (connection: NatsConnection) => Promise<T>): Promise<T> {
  const connection = await connect({ servers: url, reconnect: false });
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

async function readAll(connection: NatsConnection): Promise<StreamMessage[]> {
  const manager = await connection.jetstreamManager();
  const names = await manager.streams.names().next();
  if (!names.includes(STREAM)) return [];
  const messages: StreamMessage[] = [];
  if ((await manager.streams.info(STREAM)).state.messages === 0) return messages;
  const consumer = await connection.jetstream().consumers.get(STREAM);
  for await (const message of await consumer.consume()) {
    messages.push(toMessage(message));
    if (message.info.pending === 0) break;
  }
  return messages;
}

function toMessage(message: JsMsg): StreamMessage {
  return {
    subject: message.subject,
    messageId: message.headers?.get("Nats-Msg-Id") ?? "",
    event: message.json<CloudEvent>(),
  };
}

/** The sequence numbers that the events have themselves. */
export const sequencesOf = (messages: readonly StreamMessage[]): number[] =>
  messages.map(({ event }) => Number(event.sequence));

/** The versions that the stream has of each resource, in the order of the stream. */
export function versionsBySubject(messages: readonly StreamMessage[]): Map<string, number[]> {
  const bySubject = Map.groupBy(messages, ({ event }) => event.subject);
  return new Map(
    [...bySubject].map(([subject, of]) => [
      subject,
      of.map(({ event }) => (event.data as { version: number }).version),
    ]),
  );
}
