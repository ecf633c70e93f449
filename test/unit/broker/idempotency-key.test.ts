import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Errors, type Context, type ServiceBroker } from "moleculer";

import { IDEMPOTENCY_KEY_HEADER } from "../../../broker/idempotency-key.middleware.ts";
import type { AppActionSchema } from "../../../broker/service-schema.ts";
import { createTestBroker } from "../../support/test-broker.ts";
import { withKey } from "../../support/requests.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

let broker: ServiceBroker;
/** The keys of the calls that reached a handler, by action. */
let keys: Record<string, unknown[]>;
let failuresLeft: number;

beforeEach(async () => {
  keys = { write: [], read: [], inner: [] };
  failuresLeft = 0;
  const note = (name: string) => (ctx: Context) => {
    keys[name]?.push(ctx.headers[IDEMPOTENCY_KEY_HEADER]);
    if (failuresLeft-- > 0)
      throw new Errors.MoleculerRetryableError("try again", 503, "DATABASE_UNAVAILABLE");
    return name;
  };
  const idempotent = (handler: (ctx: Context) => unknown): AppActionSchema => ({ idempotent: true, handler });
  broker = createTestBroker();
  broker.createService({
    name: "work",
    actions: {
      write: idempotent(note("write")),
      inner: idempotent(note("inner")),
      read: note("read"),
      outer: idempotent(async (ctx) => [
        await ctx.call("work.inner"),
        await ctx.call("work.inner"),
        await ctx.call("work.read"),
      ]),
    },
  });
  await broker.start();
});

afterEach(() => broker.stop());

describe("a call that writes", () => {
  test("has a key that no other call has", async () => {
    await broker.call("work.write");
    await broker.call("work.write");
    const [first, second] = keys["write"] ?? [];
    expect(first).toMatch(UUID);
    expect(second).toMatch(UUID);
    expect(second).not.toBe(first);
  });

  test("has the same key at every attempt", async () => {
    failuresLeft = 2;
    await expect(broker.call("work.write")).resolves.toBe("write");
    expect(keys["write"]).toHaveLength(3);
    expect(new Set(keys["write"]).size).toBe(1);
  });

  test("keeps the key that the caller brought, at every attempt", async () => {
    failuresLeft = 1;
    await broker.call("work.write", {}, withKey("order-4711"));
    expect(keys["write"]).toEqual(["order-4711", "order-4711"]);
  });

  test("has other headers left as they were, and the caller's object untouched", async () => {
    const headers = { "x-other": "1" };
    broker.createService({
      name: "echo",
      actions: { headers: { idempotent: true, handler: (ctx: Context) => ctx.headers } as AppActionSchema },
    });
    await broker.waitForServices("echo");
    await expect(broker.call("echo.headers", {}, { headers })).resolves.toEqual({
      "x-other": "1",
      [IDEMPOTENCY_KEY_HEADER]: expect.stringMatching(UUID),
    });
    expect(headers).toEqual({ "x-other": "1" });
  });

  test("does not hand its key on to the calls that it makes", async () => {
    await broker.call("work.outer", {}, withKey("order-4711"));
    const [first, second] = keys["inner"] ?? [];
    expect(first).toMatch(UUID);
    expect(second).toMatch(UUID);
    expect(second).not.toBe(first);
    expect(keys["read"]).toEqual([undefined]);
  });
});

describe("a call that reads", () => {
  test("has no key", async () => {
    await broker.call("work.read");
    expect(keys["read"]).toEqual([undefined]);
  });
});
