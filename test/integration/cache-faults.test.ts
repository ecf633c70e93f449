import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { randomUUID } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Redis } from "ioredis";
import type { ServiceBroker } from "moleculer";

import { cacheKey } from "../../broker/cache/cache-key.ts";
import { changeCache, type Cacher } from "../../broker/cache/cacher.ts";
import { entryOf } from "../../broker/cache/entry.ts";
import { RedisLink } from "../../lib/redis-link.ts";
import { cacherOf, CachedValues } from "../support/cached-values.ts";
import { startNats } from "../support/nats.ts";
import { startRedis } from "../support/redis.ts";
import type { TestServer } from "../support/server-process.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { createTestBroker } from "../support/test-broker.ts";
import { waitFor } from "../support/wait-for.ts";

let redis: TestServer;
let proxy: TcpProxy;
let client: Redis;
let source: CachedValues;
const brokers: ServiceBroker[] = [];
const timers: NodeJS.Timeout[] = [];

beforeEach(async () => {
  redis = await startRedis();
  proxy = await startTcpProxy(redis.url);
  client = new Redis(redis.url);
  source = new CachedValues();
});

afterEach(async () => {
  for (const timer of timers.splice(0)) clearInterval(timer);
  await Promise.all(brokers.splice(0).map((broker) => broker.stop()));
  client.disconnect();
  await proxy.stop();
  await redis.stop();
});

/** A node without NATS, whose memory keeps next to nothing, so that Redis has to answer. */
async function startNode(url: string, settings: Record<string, string> = {}): Promise<ServiceBroker> {
  // A Redis that is away is noticed at once. One that is given up as slow, on a busy machine, would not be told.
  const link = new RedisLink(url, { timeoutMs: 5_000, log: silentLogger });
  const small = { REDIS_URL: url, CACHE_MAX_ENTRIES: "1", NODE_ID: `node-${brokers.length}` };
  const broker = createTestBroker({ ...small, ...settings }, undefined, undefined, link);
  broker.createService(source.service());
  brokers.push(broker);
  await broker.start();
  // As the monitor of a node does.
  timers.push(setInterval(() => void link.ping().catch(() => undefined), 50));
  return broker;
}

const read = (broker: ServiceBroker, key: string): Promise<{ version: number; name?: string }> =>
  broker.call("values.get", { key });
const keyOf = (key: string): string => cacheKey("values.get", { key });
const stored = (key: string): string => `rollcall:cache:${keyOf(key)}`;

/** Reads, past the memory of the node, until Redis has the answer, with which another node would be answered. */
const untilStored = (broker: ServiceBroker, key: string): Promise<unknown> =>
  waitFor(
    async () => {
      await broker.call("values.get", { key }, { meta: { $cache: false } });
      return (await client.exists(stored(key))) === 1;
    },
    { description: "the answer to be in Redis" },
  );

/** How many scripts Redis has run. */
async function scriptsRun(): Promise<number> {
  const calls = [...(await client.info("commandstats")).matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)];
  return calls.reduce((sum, [, count]) => sum + Number(count), 0);
}

/** What a unit of work does after its commit. */
async function change(broker: ServiceBroker, key: string, version: number): Promise<void> {
  source.values.set(key, { version });
  await changeCache(broker, [keyOf(key)], entryOf({ version }));
}

describe("a change that Redis was not told of, as the node was cut off,", () => {
  test("is told when the node is back, before it reads there, so that no node gets what was before", async () => {
    const [cutOff, other] = [await startNode(proxy.url), await startNode(redis.url)];
    const key = randomUUID();
    source.values.set(key, { version: 1 });
    await untilStored(cutOff, key);
    await proxy.cut();
    await change(cutOff, key, 2);
    await expect(read(cutOff, key)).resolves.toEqual({ version: 2 });

    await proxy.mend();
    await waitFor(async () => (await read(other, key)).version === 2, {
      description: "the other node to be told",
    });
    await read(cutOff, randomUUID());
    await expect(read(cutOff, key)).resolves.toEqual({ version: 2 });
  });
});

describe("a Redis that has no memory left", () => {
  test("fails no call, and does not keep what a change has made old", async () => {
    const node = await startNode(redis.url);
    const [key, other] = [randomUUID(), randomUUID()];
    source.values.set(key, { version: 1 });
    await untilStored(node, key);
    await client.config("SET", "maxmemory-policy", "noeviction", "maxmemory", "1");

    await expect(read(node, other)).resolves.toBeUndefined();
    source.values.set(key, { version: 2, text: "x".repeat(10_000) });
    await changeCache(node, [keyOf(key)], entryOf(source.values.get(key)));
    await waitFor(async () => (await client.exists(stored(key))) === 0, {
      description: "the old entry to be gone",
    });
    const fresh = await startNode(redis.url);
    await expect(read(fresh, key)).resolves.toMatchObject({ version: 2 });
  });
});

describe("what somebody else has written to Redis", () => {
  test.each([
    ["is no entry", (key: string) => client.set(key, "garbage")],
    ["is half an entry", (key: string) => client.set(key, "1 x.0 99999999999999 ={")],
    ["is no text", (key: string) => client.rpush(key, "a", "b")],
    ["is empty", (key: string) => client.set(key, "")],
    ["is of another server", (key: string) => client.set(key, '9 other.0 99999999999999 ={"version":9}')],
  ])("and %s is no answer, and gives way to one", async (_, write) => {
    const node = await startNode(redis.url);
    const key = randomUUID();
    source.fallback = { version: 1 };
    await untilStored(node, randomUUID());
    await write(stored(key));
    source.values.set(key, { version: 1 });
    const isWritten = async (): Promise<boolean | undefined> => {
      // Another one takes its place in the memory, so that Redis is asked.
      await read(node, randomUUID());
      await expect(read(node, key)).resolves.toEqual({ version: 1 });
      return (await client.get(stored(key)))?.includes('{"version":1}');
    };
    await expect(read(node, key)).resolves.toEqual({ version: 1 });
    await expect(waitFor(isWritten, { description: "the answer to be written" })).resolves.toBe(true);
  });
});

describe("a value without a version", () => {
  test("that is set on one node takes the place of what another one has in memory", async () => {
    const [one, other] = [await startNode(redis.url), await startNode(redis.url)];
    const [here, there] = [await cacherOf(one), await cacherOf(other)];
    // Again and again: what is set while Redis is late, on a busy machine, may be dropped.
    const untilShared = (value: string): Promise<boolean> => {
      const isShared = async (): Promise<boolean> => {
        await here.set("kept:key", value);
        return ((await there.get("kept:key")) as unknown) === value;
      };
      return waitFor(isShared, { description: "the other node to have what was set" });
    };
    await untilShared("before");
    await untilShared("after");
    expect(await here.get("kept:key")).toBe("after");
  });
});

describe("what was read before a purge, of which the node has not heard yet,", () => {
  test.each([
    ["a read", {}],
    ["a read that wants it from the database", { $cache: false }],
  ])("is not kept in Redis: %s", async (_what, meta) => {
    const [slow, other] = [await startNode(proxy.url), await startNode(redis.url)];
    const [key, before] = [randomUUID(), Promise.withResolvers<unknown>()];
    source.fallback = { version: 1 };
    await untilStored(slow, randomUUID());
    source.values.set(key, before.promise);
    const reading = slow.call("values.get", { key }, { meta });
    await waitFor(() => source.missesOf(key) === 1, { description: "the read to have begun" });

    proxy.delayAnswers(() => 1_000);
    await (other.cacher as Cacher).cache.purge(["values.get"]);
    const scripts = await scriptsRun();
    before.resolve({ version: 1 });
    await reading;
    await waitFor(async () => (await scriptsRun()) > scripts, { description: "Redis to be given it" });
    expect(await client.exists(stored(key))).toBe(0);
  });
});

describe("a purge", () => {
  test("is not undone when Redis drops, for want of memory, what it knows of it", async () => {
    const [node, other] = [await startNode(redis.url), await startNode(redis.url)];
    const key = randomUUID();
    source.fallback = { version: 1 };
    source.values.set(key, { version: 1, name: "before" });
    await untilStored(node, key);
    source.values.set(key, { version: 1, name: "after" });
    await (node.cacher as Cacher).cache.purge(["values.get"]);
    // Something is kept after the purge, and the other node, which has not read the key yet, uses Redis.
    await untilStored(other, randomUUID());
    await client.del("rollcall:cache-epoch:values.get");
    await expect(read(other, key)).resolves.toMatchObject({ name: "after" });
  });

  test("that a node cannot tell Redis of is told by those who can", async () => {
    const nats = await startNats();
    try {
      const settings = { NATS_URL: nats.url };
      const [cutOff, other] = [await startNode(proxy.url, settings), await startNode(redis.url, settings)];
      const key = randomUUID();
      source.values.set(key, { version: 1, name: "before" });
      await untilStored(other, key);
      await proxy.cut();
      source.values.set(key, { version: 1, name: "after" });
      await (cutOff.cacher as Cacher).cache.purge(["values.get"]);

      const hasHeard = async (): Promise<boolean> => (await read(other, key)).name === "after";
      await expect(waitFor(hasHeard, { description: "the other node to tell Redis" })).resolves.toBe(true);
    } finally {
      await Promise.all(brokers.splice(0).map((broker) => broker.stop()));
      await nats.stop();
    }
  });
});

describe("something that is no Redis", () => {
  test("and answers garbage fails no call", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", () => socket.write("\u0000\u0001 no protocol\r\n*99999\r\n"));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const node = await startNode(`redis://127.0.0.1:${(server.address() as AddressInfo).port}`);
    source.fallback = { version: 1 };
    for (let count = 0; count < 50; count += 1) {
      await expect(read(node, randomUUID())).resolves.toEqual({ version: 1 });
    }
    for (const broker of brokers.splice(0)) await broker.stop();
    server.close();
  });
});

describe("1,000 calls at the same time for what is not cached", () => {
  test("are one run of the action on each node", async () => {
    const nodes = [await startNode(redis.url), await startNode(redis.url)];
    // Without its memory, a node would have to ask for each that comes later.
    for (const node of nodes) await cacherOf(node);
    const key = randomUUID();
    source.values.set(key, { version: 1 });
    const calls = nodes.flatMap((node) => Array.from({ length: 1000 }, () => read(node, key)));
    const answers = await Promise.all(calls);
    expect(answers.filter(({ version }) => version !== 1)).toEqual([]);
    expect(source.missesOf(key)).toBeLessThanOrEqual(nodes.length);
  });

  test("leave no more in memory than the limit", async () => {
    const node = await startNode(redis.url, { CACHE_MAX_ENTRIES: "100" });
    const { cache } = node.cacher as Cacher;
    source.fallback = { version: 1 };
    let most = 0;
    const look = async () => {
      const { entries = 0 } = (await cache.sizes()).find(({ level }) => level === "memory") ?? {};
      most = Math.max(most, entries);
    };
    const readNew = async () => {
      await read(node, randomUUID());
      await look();
    };
    await Promise.all(Array.from({ length: 500 }, readNew));
    expect(most).toBe(100);
  });
});
