import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { connect, type NatsConnection } from "nats";

import { newId } from "../../lib/ids.ts";
import { publishInOrder, type OutgoingMessage } from "../../services/events/publish-in-order.ts";
import { startNats, type TestNats } from "../support/nats.ts";

let nats: TestNats;
let connection: NatsConnection;

beforeAll(async () => {
  nats = await startNats({ jetStream: true });
  connection = await connect({ servers: nats.url });
  const manager = await connection.jetstreamManager();
  await manager.streams.add({ name: "TEST", subjects: ["test.>"] });
});

afterAll(async () => {
  await connection.close();
  await nats.stop();
});

const message = (orderKey: string): OutgoingMessage => ({
  subject: `test.${orderKey}`,
  id: newId(),
  orderKey,
  payload: Buffer.from("{}"),
});

const publish = (messages: OutgoingMessage[], mayPublish = () => true) =>
  publishInOrder(connection, messages, { timeoutMs: 10_000, mayPublish });

test("says where the stream has each message", async () => {
  const messages = ["a", "b", "a", "c"].map(message);
  const { positions, error } = await publish(messages);
  expect(error).toBeUndefined();

  const { streams } = await connection.jetstreamManager();
  const found = await Promise.all(positions.map((seq) => streams.getMessage("TEST", { seq })));
  expect(found.map(({ header }) => header.get("Nats-Msg-Id"))).toEqual(messages.map(({ id }) => id));
  expect(await publish(messages)).toEqual({ positions });
});

test("has confirmed nothing from the first message on that is not confirmed", async () => {
  const { positions, error } = await publish([
    message("a"),
    { ...message("a"), subject: "elsewhere" },
    message("b"),
  ]);
  expect(error).toMatchObject({ message: "the stream does not answer: 503" });
  expect(positions.length).toBeLessThanOrEqual(1);
});

test("sends nothing when it may not", async () => {
  const result = await publish([message("forbidden")], () => false);
  expect(result).toMatchObject({ positions: [], error: { message: expect.stringContaining("leader") } });
  const { streams } = await connection.jetstreamManager();
  const { state } = await streams.info("TEST", { subjects_filter: "test.forbidden" });
  expect(state.subjects).toBeUndefined();
});
