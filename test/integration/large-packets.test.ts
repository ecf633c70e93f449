import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Context, ServiceBroker } from "moleculer";

import { createTestBroker } from "../support/test-broker.ts";
import { startNats } from "../support/nats.ts";
import type { TestServer } from "../support/server-process.ts";

/** What NATS takes at most, unless it is set up otherwise. */
const NATS_LIMIT_BYTES = 1_048_576;

let nats: TestServer;
let caller: ServiceBroker;
let owner: ServiceBroker;

beforeAll(async () => {
  nats = await startNats();
  caller = createTestBroker({ NODE_ID: "caller", NATS_URL: nats.url });
  owner = createTestBroker({ NODE_ID: "owner", NATS_URL: nats.url });
  owner.createService({
    name: "text",
    actions: {
      length: (ctx: Context<{ text: string }>) => ctx.params.text.length,
      make: (ctx: Context<{ length: number }>) => "x".repeat(ctx.params.length),
    },
  });
  await Promise.all([caller.start(), owner.start()]);
  await caller.waitForServices("text");
});

afterAll(async () => {
  await Promise.all([caller.stop(), owner.stop()]);
  await nats.stop();
});

describe("a request between nodes", () => {
  test("arrives when it is as large as NATS takes", async () => {
    const text = "x".repeat(NATS_LIMIT_BYTES - 1000);
    await expect(caller.call("text.length", { text })).resolves.toBe(text.length);
  });

  test("is refused as too large when NATS would not take it, and the node goes on", async () => {
    const text = "x".repeat(NATS_LIMIT_BYTES);
    await expect(caller.call("text.length", { text })).rejects.toMatchObject({
      type: "PAYLOAD_TOO_LARGE",
      code: 413,
      retryable: false,
    });
    await expect(caller.call("text.length", { text: "small" })).resolves.toBe(5);
  });

  test("does not lose what is sent in the same turn, before and after it", async () => {
    const texts = ["before", "x".repeat(NATS_LIMIT_BYTES), "after"];
    const outcomes = await Promise.allSettled(texts.map((text) => caller.call("text.length", { text })));
    expect(outcomes).toMatchObject([
      { status: "fulfilled", value: 6 },
      { status: "rejected", reason: { type: "PAYLOAD_TOO_LARGE" } },
      { status: "fulfilled", value: 5 },
    ]);
  });

  test("that is too large does not count against the node that it was for", async () => {
    const text = "x".repeat(NATS_LIMIT_BYTES);
    const calls = Array.from({ length: 30 }, () => caller.call("text.length", { text }));
    await Promise.allSettled(calls);
    await expect(caller.call("text.length", { text: "small" })).resolves.toBe(5);
  });
});

describe("a response between nodes", () => {
  test("fails at once when NATS would not take it, and its node goes on", async () => {
    const tooLarge = caller.call("text.make", { length: NATS_LIMIT_BYTES });
    await expect(tooLarge).rejects.toMatchObject({ type: "RESULT_TOO_LARGE", code: 400, retryable: false });
    await expect(caller.call("text.make", { length: 3 })).resolves.toBe("xxx");
  });
});
