import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { cacheKey } from "../../broker/cache/cache-key.ts";
import { changeCache, type Cacher } from "../../broker/cache/cacher.ts";
import { CachedValues, cacherOf } from "../support/cached-values.ts";
import { startNats } from "../support/nats.ts";
import { startRedis } from "../support/redis.ts";
import type { TestServer } from "../support/server-process.ts";
import { createTestBroker } from "../support/test-broker.ts";
import { waitFor } from "../support/wait-for.ts";

let redis: TestServer;
let nats: TestServer;

beforeAll(async () => {
  [redis, nats] = await Promise.all([startRedis(), startNats()]);
});

afterAll(async () => {
  await Promise.all([redis.stop(), nats.stop()]);
});

/** Every cacher that keeps something must pass this. */
describe.each([
  ["the cacher in memory", () => ({}), ["memory"]],
  // What takes long on a busy machine must not look like a miss.
  ["the cacher on Redis", () => ({ REDIS_URL: redis.url, REDIS_TIMEOUT_MS: "5000" }), ["memory", "redis"]],
])("%s", (_, settings, levels) => {
  const source = new CachedValues();
  /** Without NATS: a memory that hears too late that nobody has changed anything, on a busy machine, is not used. */
  let node: ServiceBroker;
  let cacher: Cacher;

  const startNode = async (own: Record<string, string> = {}): Promise<ServiceBroker> => {
    const broker = createTestBroker({ ...settings(), ...own });
    broker.createService(source.service());
    await broker.start();
    await cacherOf(broker, { levels });
    return broker;
  };

  beforeAll(async () => {
    node = await startNode();
    cacher = await cacherOf(node, { levels });
  });

  afterAll(() => node.stop());

  /** A call that is answered by its own node, from the cache if it can be. */
  const read = (broker: ServiceBroker, key: string): Promise<unknown> => broker.call("values.get", { key });

  test("has nothing under a key that was not set", async () => {
    await expect(cacher.get(randomUUID())).resolves.toBeUndefined();
  });

  test.each<[string, unknown]>([
    ["an object", { id: "1", tags: ["a", null], owner: { name: "Zoë 👩‍👩‍👧" }, count: 0, isOpen: false }],
    ["a list", [{ a: 1 }, []]],
    ["an empty object", {}],
    ["an empty text", ""],
    ["zero", 0],
    ["false", false],
    ["null", null],
  ])("gives back %s as it was set", async (__, value) => {
    const key = randomUUID();
    await cacher.set(key, value);
    await expect(cacher.get(key)).resolves.toEqual(value);
  });

  test("keeps the last of several values", async () => {
    const key = randomUUID();
    for (const value of [{ a: 1 }, { b: 2 }]) await cacher.set(key, value);
    await expect(cacher.get(key)).resolves.toEqual({ b: 2 });
  });

  test("does not keep undefined, which stands for a miss, and goes on", async () => {
    const [key, other] = [randomUUID(), randomUUID()];
    await cacher.set(key, undefined);
    await expect(cacher.get(key)).resolves.toBeUndefined();
    await cacher.set(other, 1);
    await expect(cacher.get(other)).resolves.toBe(1);
  });

  test("drops one key, and others not", async () => {
    const [key, other] = [randomUUID(), randomUUID()];
    await Promise.all([cacher.set(key, 1), cacher.set(other, 2)]);
    await cacher.del(key);
    await expect(cacher.get(key)).resolves.toBeUndefined();
    await expect(cacher.get(other)).resolves.toBe(2);
  });

  test("drops several keys at once, and does not mind those that it does not have", async () => {
    const keys = [randomUUID(), randomUUID(), randomUUID()];
    await Promise.all(keys.map((key) => cacher.set(key, 1)));
    await cacher.del([...keys.slice(0, 2), randomUUID()]);
    await expect(Promise.all(keys.map((key) => cacher.get(key)))).resolves.toEqual([undefined, undefined, 1]);
  });

  test("drops what a pattern matches", async () => {
    const service = `s${randomUUID()}`;
    const keys = [`${service}.get:1`, `${service}.get:2`, `${service}.list:1`];
    await Promise.all(keys.map((key) => cacher.set(key, 1)));
    await cacher.clean(`${service}.get:*`);
    await expect(Promise.all(keys.map((key) => cacher.get(key)))).resolves.toEqual([undefined, undefined, 1]);
  });

  test("drops everything", async () => {
    const keys = Array.from({ length: 300 }, () => randomUUID());
    await Promise.all(keys.map((key) => cacher.set(key, 1)));
    await cacher.clean();
    const left = await Promise.all(keys.map((key) => cacher.get(key)));
    expect(left.filter((value) => value !== undefined)).toEqual([]);
  });

  test("forgets an entry after its life, also when it is read all the time", async () => {
    const key = randomUUID();
    await cacher.set(key, 1, 2);
    await expect(cacher.get(key)).resolves.toBe(1);
    await waitFor(async () => (await cacher.get(key)) === undefined, { description: "the entry to expire" });
  });

  test("forgets the result of an action after CACHE_TTL_SECONDS, also when it is called all the time", async () => {
    const broker = await startNode({ CACHE_TTL_SECONDS: "2" });
    try {
      const key = randomUUID();
      source.values.set(key, "old");
      await read(broker, key);
      source.values.set(key, "new");
      await expect(read(broker, key)).resolves.toBe("old");
      await waitFor(async () => (await read(broker, key)) === "new", { description: "the entry to expire" });
    } finally {
      await broker.stop();
    }
  });

  test("answers a call that was made before, without running the action", async () => {
    const key = randomUUID();
    source.values.set(key, { name: "Ada" });
    await expect(read(node, key)).resolves.toEqual({ name: "Ada" });
    await waitFor(async () => (await cacher.get(cacheKey("values.get", { key }))) !== undefined, {
      description: "the result to be kept",
    });
    await expect(read(node, key)).resolves.toEqual({ name: "Ada" });
    expect(source.missesOf(key)).toBe(1);
  });

  test("is passed by a call that wants fresh data", async () => {
    const key = randomUUID();
    source.values.set(key, "old");
    await read(node, key);
    source.values.set(key, "new");
    await expect(node.call("values.get", { key }, { meta: { $cache: false } })).resolves.toBe("new");
  });

  test("keeps null and not undefined of an action", async () => {
    const [nothing, absent] = [randomUUID(), randomUUID()];
    source.values.set(nothing, null);
    for (const key of [nothing, absent, nothing, absent]) await read(node, key);
    expect([source.missesOf(nothing), source.missesOf(absent)]).toEqual([1, 2]);
  });

  test("does not keep a failure", async () => {
    const broker = createTestBroker(settings());
    let calls = 0;
    const fail = () => Promise.reject(new Error(`failure ${(calls += 1)}`));
    broker.createService({ name: randomUUID(), actions: { fail: { cache: true, handler: fail } } });
    await broker.start();
    try {
      await cacherOf(broker, { levels });
      const action = `${broker.services.at(-1)?.name}.fail`;
      await expect(broker.call(action)).rejects.toThrow("failure 1");
      await expect(broker.call(action)).rejects.toThrow("failure 2");
    } finally {
      await broker.stop();
    }
  });

  test("does not take one call for another, however alike their parameters are", async () => {
    const id = randomUUID();
    const calls = [
      { key: 'x"|b|"y', id },
      { key: "x", b: "y", id },
      { key: "x", id },
      { key: ["x"], id },
      { key: "1", id },
      { key: 1, id },
      { key: null, id },
      { key: "null", id },
    ];
    for (const [index, params] of calls.entries()) {
      source.fallback = index;
      await node.call("values.get", params);
    }
    source.fallback = undefined;
    const answers = await Promise.all(calls.map((params) => node.call("values.get", params)));
    expect(answers).toEqual([...calls.keys()]);
  });

  test("takes calls with equal parameters for one, in whatever order they are written", async () => {
    const key = randomUUID();
    source.values.set(key, "first");
    await node.call("values.get", { key, other: { b: 1, c: 2 } });
    source.values.set(key, "second");
    await expect(node.call("values.get", { other: { c: 2, b: 1 }, key })).resolves.toBe("first");
  });

  test("drops a stale entry on every node", async () => {
    const [a, b] = await Promise.all(
      ["a", "b"].map((id) => startNode({ NODE_ID: id, NATS_URL: nats.url })) as [
        Promise<ServiceBroker>,
        Promise<ServiceBroker>,
      ],
    );
    try {
      await waitFor(() => a.registry.getNodeList({ onlyAvailable: true }).length === 2, {
        description: "the nodes to meet",
      });
      const key = await waitFor(() => staleOn(a, b), { description: "an entry that both nodes keep" });

      await changeCache(a, [cacheKey("values.get", { key })]);
      await expect(read(a, key)).resolves.toBe("new");
      await waitFor(async () => (await read(b, key)) === "new", { description: "the other node to drop it" });
    } finally {
      await Promise.all([a.stop(), b.stop()]);
    }
  });

  /** The key of an entry that both nodes keep, though its value has changed meanwhile, if both have kept it. */
  async function staleOn(a: ServiceBroker, b: ServiceBroker): Promise<string> {
    const key = randomUUID();
    const readBoth = (): Promise<unknown[]> => Promise.all([read(a, key), read(b, key)]);
    source.values.set(key, "old");
    await readBoth();
    source.values.set(key, "new");
    return isDeepStrictEqual(await readBoth(), ["old", "old"]) ? key : "";
  }
});

describe("the cacher that keeps nothing", () => {
  test("has every call answered by the action, and fails none of its own", async () => {
    const source = new CachedValues();
    const broker = createTestBroker({ CACHE: "none", REDIS_URL: redis.url });
    broker.createService(source.service());
    await broker.start();
    try {
      const cacher = await cacherOf(broker, { levels: [] });
      for (const value of [1, null, { a: 1 }]) {
        source.fallback = value;
        await expect(broker.call("values.get", { key: "key" })).resolves.toEqual(value);
      }
      await cacher.set("key", 1);
      await expect(cacher.get("key")).resolves.toBeUndefined();
      await cacher.del("key");
      await cacher.clean();
      await changeCache(broker, ["key"]);
      expect(source.missesOf("key")).toBe(3);
    } finally {
      await broker.stop();
    }
  });
});
