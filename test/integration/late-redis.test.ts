import { randomUUID } from "node:crypto";

import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { Redis } from "ioredis";

import { cacheKey } from "../../broker/cache/cache-key.ts";
import { changeCache } from "../../broker/cache/cacher.ts";
import { entryOf } from "../../broker/cache/entry.ts";
import { RateLimiter } from "../../lib/rate-limiter.ts";
import { startRedisBehindProxy, type RedisBehindProxy } from "../support/redis-behind-proxy.ts";
import { waitFor } from "../support/wait-for.ts";

/** Long enough that also a busy machine is in time, and so that what is late here is slow but usable. */
const TIMEOUT_MS = 2000;
const LATE_MS = 600;

let redis: RedisBehindProxy;
/** Past the proxy. */
let direct: Redis;

beforeEach(async () => {
  redis = await startRedisBehindProxy(TIMEOUT_MS, 50);
  direct = new Redis(redis.redisUrl);
});

afterEach(async () => {
  direct.disconnect();
  await redis.stop();
});

const keyOf = (key: string): string => cacheKey("values.get", { key });
const read = (key: string): Promise<{ version: number }> => redis.broker.call("values.get", { key });

async function becomeLate(): Promise<void> {
  redis.proxy.delayAnswers(() => LATE_MS);
  await waitFor(() => redis.link.isLate, { description: "Redis to be found late" });
}

/** How often Redis was asked for entries. */
async function lookups(): Promise<number> {
  const statistics = await direct.info("commandstats");
  return Number(/^cmdstat_mget:calls=(\d+)/m.exec(statistics)?.[1] ?? 0);
}

test("a Redis that is late is not asked for what is behind the cache, until it is not late any more", async () => {
  await read(randomUUID());
  await becomeLate();
  const before = await lookups();
  expect(before).toBeGreaterThan(0);
  for (let count = 0; count < 10; count += 1) await read(randomUUID());
  expect(await lookups()).toBe(before);
  expect(redis.link.isUsable).toBe(true);

  redis.proxy.delayAnswers(() => 0);
  const isAsked = async (): Promise<boolean> => {
    await read(randomUUID());
    return (await lookups()) > before;
  };
  await expect(waitFor(isAsked, { description: "Redis to be found in time" })).resolves.toBe(true);
});

test("a change is acknowledged before a late Redis has confirmed it, and is told to it all the same", async () => {
  const key = randomUUID();
  redis.source.values.set(key, { version: 1 });
  await read(key);
  await becomeLate();
  redis.source.values.set(key, { version: 2 });
  await changeCache(redis.broker, [keyOf(key)], entryOf({ version: 2 }));
  // Out of memory, into which one entry fits.
  await read(randomUUID());
  await expect(read(key)).resolves.toEqual({ version: 2 });
  const stored = async (): Promise<string | null> => direct.get(`rollcall:cache:${keyOf(key)}`);
  await waitFor(async () => (await stored())?.startsWith("2 ") ?? false, {
    description: "Redis to be told",
  });
});

test("requests are counted together by a Redis that is late", async () => {
  await becomeLate();
  const quota = { limit: 10, windowSeconds: 3600 };
  const limiters = [new RateLimiter(redis.link), new RateLimiter(redis.link)];
  const verdicts = await Promise.all(
    limiters.flatMap((limiter) => Array.from({ length: 8 }, () => limiter.take("client", quota))),
  );
  expect(verdicts.filter(({ isAllowed }) => isAllowed)).toHaveLength(quota.limit);
});
