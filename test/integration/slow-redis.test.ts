import { randomUUID } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";

import { cacheKey } from "../../broker/cache/cache-key.ts";
import { changeCache, type CacheMeta } from "../../broker/cache/cacher.ts";
import { entryOf } from "../../broker/cache/entry.ts";
import { RateLimiter } from "../../lib/rate-limiter.ts";
import { startRedisBehindProxy, type RedisBehindProxy } from "../support/redis-behind-proxy.ts";
import { waitFor } from "../support/wait-for.ts";

/** As a node has it, unless it is configured otherwise. */
const TIMEOUT_MS = 20;
const RECOVERY_MS = 5000;
const READS = 20;

let redis: RedisBehindProxy;

beforeEach(async () => {
  redis = await startRedisBehindProxy(TIMEOUT_MS);
});

afterEach(() => redis.stop());

interface Reading {
  readonly version: number;
  readonly cacheStatus: string | undefined;
}

async function read(key: string): Promise<Reading> {
  const calling = redis.broker.call("values.get", { key }) as Promise<{ version: number }> & {
    ctx?: { meta: CacheMeta };
  };
  const { version } = await calling;
  return { version, cacheStatus: calling.ctx?.meta.$cacheStatus };
}

/** What a unit of work does after its commit. */
async function change(key: string, version: number): Promise<void> {
  redis.source.values.set(key, { version });
  await changeCache(redis.broker, [cacheKey("values.get", { key })], entryOf({ version }));
}

async function durationOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** Settles when a value that is not in memory is had from Redis: never, while each answer is late on a busy machine. */
async function untilRedisIsUsed(): Promise<void> {
  const isUsed = async (): Promise<boolean> => {
    const [key, other] = [randomUUID(), randomUUID()];
    await change(key, 1);
    await change(other, 1);
    return (await read(key)).cacheStatus === "hit; detail=redis";
  };
  await waitFor(isUsed, { description: "a value to be had from Redis" });
}

describe.each([
  ["10 ms late", () => 10],
  ["40 ms late", () => 40],
  ["100 ms late", () => 100],
  ["500 ms late", () => 500],
  ["up to 100 ms late", () => Math.random() * 100],
])("a Redis whose answers are %s", (_late, delayMs) => {
  test("fails no read and makes none stale, and is used again within 5 s of its recovery", async () => {
    await untilRedisIsUsed();
    redis.proxy.delayAnswers(delayMs);
    const keys = Array.from({ length: READS }, () => randomUUID());
    for (const version of [1, 2]) {
      for (const key of keys) await change(key, version);
      const readings = await Promise.all(keys.map(read));
      expect(readings.map((reading) => reading.version)).toEqual(keys.map(() => version));
    }
    redis.proxy.delayAnswers(() => 0);
    await waitFor(() => redis.link.isUsable, { description: "Redis to be used", timeoutMs: RECOVERY_MS });
    await untilRedisIsUsed();
    for (const key of keys) expect(await read(key)).toMatchObject({ version: 2 });
  });

  test("refuses no request that is within the limit", async () => {
    await untilRedisIsUsed();
    const limiter = new RateLimiter(redis.link);
    redis.proxy.delayAnswers(delayMs);
    const quota = { limit: READS, windowSeconds: 3600 };
    for (let count = 0; count < READS; count += 1) {
      expect(await limiter.take("client", quota)).toMatchObject({ isAllowed: true });
    }
  });
});

describe("a Redis that takes longer than a request may wait", () => {
  test("is waited for by no read, change or limit for as long as it takes", async () => {
    await untilRedisIsUsed();
    const delayMs = 2000;
    redis.proxy.delayAnswers(() => delayMs);
    const limiter = new RateLimiter(redis.link);
    const key = randomUUID();
    const works = [
      () => change(key, 1),
      () => read(key),
      () => read(randomUUID()),
      () => limiter.take("client", { limit: READS, windowSeconds: 3600 }),
    ];
    for (const work of works) expect(await durationOf(work)).toBeLessThan(delayMs);
  });
});
