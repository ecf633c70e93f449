import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { connect, type NatsConnection } from "nats";

import { newId } from "../../lib/ids.ts";
import { publishInOrder, type OutgoingMessage } from "../../services/events/publish-in-order.ts";
import { startNats, type TestNats } from "../support/nats.ts";

/** How long NATS may take to confirm a message. */
const CONFIRMATION_MS = 1500;

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

describe("what is done after a message", () => {
  test("may take longer than a confirmation", async () => {
    const done: string[] = [];
    const slow = {
      ...message("a"),
      async afterwards() {
        await sleep(2 * CONFIRMATION_MS);
        done.push("a");
      },
    };
    const result = await publishInOrder(connection, [slow, message("a"), message("b")], {
      timeoutMs: CONFIRMATION_MS,
      mayPublish: () => true,
    });
    expect(result).toEqual({ confirmed: 3 });
    expect(done).toEqual(["a"]);
  });

  test("leaves its message unconfirmed when it fails", async () => {
    const failing = { ...message("a"), afterwards: () => Promise.reject(new Error("not deleted")) };
    const result = await publishInOrder(connection, [message("b"), failing, message("a")], {
      timeoutMs: 10_000,
      mayPublish: () => true,
    });
    expect(result).toMatchObject({ error: { message: "not deleted" } });
    expect(result.confirmed).toBeLessThan(2);
  });

  test("lets the next message of its key not be sent when another one has failed meanwhile", async () => {
    const begun = Promise.withResolvers<void>();
    const failed = Promise.withResolvers<void>();
    const done = Promise.withResolvers<void>();
    const slow = {
      ...message("slow"),
      async afterwards() {
        begun.resolve();
        await failed.promise;
        done.resolve();
      },
    };
    const failing = {
      ...message("failing"),
      async afterwards() {
        await begun.promise;
        throw new Error("not deleted");
      },
    };
    const result = await publishInOrder(connection, [slow, message("slow"), failing], {
      timeoutMs: 10_000,
      mayPublish: () => true,
    });
    expect(result).toMatchObject({ confirmed: 0, error: { message: "not deleted" } });

    failed.resolve();
    await done.promise;
    // What was sent by then has arrived.
    await connection.flush();
    const { streams } = await connection.jetstreamManager();
    const { state } = await streams.info("TEST", { subjects_filter: "test.slow" });
    expect(state.subjects).toEqual({ "test.slow": 1 });
  });
});
