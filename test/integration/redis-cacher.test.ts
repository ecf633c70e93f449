import { randomUUID } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import type { Cacher } from "../../broker/cache/cacher.ts";
import { DependencyMonitor } from "../../lib/dependency-monitor.ts";
import { RedisLink } from "../../lib/redis-link.ts";
import { CachedValues } from "../support/cached-values.ts";
import { capturingLogger, type LogEntry } from "../support/capturing-logger.ts";
import { startRedis } from "../support/redis.ts";
import { silentLogger } from "../support/silent-logger.ts";
import type { TestServer } from "../support/server-process.ts";
import { createTestBroker } from "../support/test-broker.ts";
import { waitFor } from "../support/wait-for.ts";

/** How long Redis may hold a call: more than a busy machine needs, so that it is not lost for being slow. */
const TIMEOUT_MS = 1000;
/** The rest is what a busy machine may need. */
const MAX_LATENCY_MS = 4000;

let redis: TestServer;
let source: CachedValues;
let broker: ServiceBroker;
let cacher: Cacher;
let monitor: DependencyMonitor;
let log: LogEntry[];

beforeEach(async () => {
  redis = await startRedis();
  source = new CachedValues();
  source.fallback = "value";
  await startBroker();
});

afterEach(async () => {
  monitor.stop();
  await broker.stop();
  await redis.stop();
});

/** A broker with its Redis watched as every node does it, only more often. What Redis has to answer is not in memory. */
async function startBroker(): Promise<void> {
  const capturing = capturingLogger();
  log = capturing.entries;
  const link = new RedisLink(redis.url, { timeoutMs: TIMEOUT_MS, log: silentLogger });
  broker = createTestBroker({ REDIS_URL: redis.url, CACHE_MAX_ENTRIES: "1" }, undefined, undefined, link);
  broker.createService(source.service());
  cacher = broker.cacher as Cacher;
  monitor = new DependencyMonitor({
    name: "redis",
    check: () => link.ping(),
    log: capturing.log,
    intervalMs: 50,
    timeoutMs: 2 * TIMEOUT_MS,
  });
  // At once, though it can hardly be connected yet.
  await monitor.start();
  await broker.start();
}

const read = (key: string): Promise<unknown> => broker.call("values.get", { key });

/** Makes calls until one of the same key as another, which is out of memory, is answered without the action. */
const untilUsed = () =>
  waitFor(
    async () => {
      const key = randomUUID();
      await read(key);
      await read(randomUUID());
      await read(key);
      return source.missesOf(key) === 1;
    },
    { description: "Redis to be used" },
  );

const untilLost = () => waitFor(() => !monitor.isUp, { description: "the loss of Redis to be noticed" });

/** Calls one after the other, each with the time that it took. A call that fails ends the test. */
async function latenciesOf(count: number): Promise<number[]> {
  const latencies: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const startedAt = performance.now();
    await expect(read(randomUUID())).resolves.toBe("value");
    latencies.push(performance.now() - startedAt);
  }
  return latencies;
}

describe("when Redis is there at the start", () => {
  test("a node uses it, and does not call it lost before it was connected", async () => {
    expect(monitor.isUp).toBe(true);
    await untilUsed();
    expect(log).toEqual([]);
  });
});

// A rejection that nobody handles, as that of a write behind a call, fails a test too: jest sees to it.
describe("when Redis is killed", () => {
  test("no call fails, none waits, and the cache is used again when it is back", async () => {
    await untilUsed();
    await redis.kill();
    expect(Math.max(...(await latenciesOf(50)))).toBeLessThan(MAX_LATENCY_MS);
    await untilLost();
    expect(Math.max(...(await latenciesOf(50)))).toBeLessThan(MAX_LATENCY_MS);

    await redis.restart();
    await untilUsed();
    await waitFor(() => monitor.isUp, { description: "the monitor to see it" });
    expect(log.map(({ msg }) => msg)).toEqual(["dependency lost", "dependency back"]);
  });

  test("no call fails that was under way", async () => {
    await untilUsed();
    const running = Array.from({ length: 200 }, () => read(randomUUID()));
    const killed = redis.kill();
    const more = Array.from({ length: 200 }, () => read(randomUUID()));
    const answers = await Promise.all([...running, ...more]);
    await killed;
    expect(new Set(answers)).toEqual(new Set(["value"]));
  });

  test("what is set, dropped or cleaned meanwhile is no failure", async () => {
    await untilUsed();
    await redis.kill();
    await expect(cacher.set("key", 1)).resolves.toBeUndefined();
    await expect(cacher.get("other")).resolves.toBeUndefined();
    await expect(cacher.del(["key", "other"])).resolves.toBeUndefined();
    await expect(cacher.clean()).resolves.toBeUndefined();
  });

  test("what is set meanwhile is not written later, when it may be stale", async () => {
    await untilUsed();
    await redis.kill();
    await Promise.all([cacher.set("key", "stale"), cacher.set("other", "stale")]);
    await redis.restart();
    await untilUsed();
    await expect(Promise.all([cacher.get("key"), cacher.get("other")])).resolves.toEqual([
      undefined,
      undefined,
    ]);
  });
});

describe("when Redis is frozen", () => {
  afterEach(() => redis.thaw());

  test("no call fails, each waits for a moment at most, and the cache is used again when it goes on", async () => {
    await untilUsed();
    redis.freeze();
    const latencies = await latenciesOf(50);
    expect(Math.max(...latencies)).toBeLessThan(MAX_LATENCY_MS);
    await untilLost();

    redis.thaw();
    await untilUsed();
  });

  test("calls at the same time wait together, not one after the other", async () => {
    await untilUsed();
    redis.freeze();
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: 200 }, () => read(randomUUID())));
    expect(performance.now() - startedAt).toBeLessThan(MAX_LATENCY_MS);
  });

  test("neither a read nor a write waits once it is known", async () => {
    await untilUsed();
    redis.freeze();
    await untilLost();
    const startedAt = performance.now();
    for (let count = 0; count < 30; count += 1) {
      await read(randomUUID());
      await cacher.del(randomUUID());
    }
    // Waiting would take a minute.
    expect(performance.now() - startedAt).toBeLessThan(MAX_LATENCY_MS);
  });

  test("a broker stops without waiting for it", async () => {
    await untilUsed();
    redis.freeze();
    monitor.stop();
    const startedAt = performance.now();
    await broker.stop();
    expect(performance.now() - startedAt).toBeLessThan(MAX_LATENCY_MS);
  });
});

describe("when Redis is restarted", () => {
  test("no call fails, and the cache is used again", async () => {
    await untilUsed();
    const restarted = redis.restart().then(() => true);
    const latencies: number[] = [];
    const callOn = async () => {
      latencies.push(...(await latenciesOf(10)));
      return Promise.race([restarted, Promise.resolve(false)]);
    };
    await waitFor(callOn, { description: "the restart to end", intervalMs: 1 });
    expect(Math.max(...latencies)).toBeLessThan(MAX_LATENCY_MS);
    await untilUsed();
  });
});

describe("when Redis is away at the start", () => {
  test("a node starts and answers, and uses the cache when it is there", async () => {
    monitor.stop();
    await broker.stop();
    await redis.kill();
    await startBroker();
    expect(Math.max(...(await latenciesOf(20)))).toBeLessThan(MAX_LATENCY_MS);
    expect(monitor.status).toEqual({ status: "down", latencyMs: null });

    await redis.restart();
    await untilUsed();
    await waitFor(() => monitor.isUp, { description: "the monitor to see it" });
  });
});
