import { randomUUID } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Redis } from "ioredis";

import { cacheKey } from "../../broker/cache/cache-key.ts";
import { REDIS_CHANNEL } from "../../broker/cache/messages.ts";
import { cacherOf } from "../support/cached-values.ts";
import { startRedisBehindProxy, type RedisBehindProxy } from "../support/redis-behind-proxy.ts";
import { waitFor } from "../support/wait-for.ts";

/** Long enough that a busy machine is in time. */
const TIMEOUT_MS = 1000;
const CHECK_INTERVAL_MS = 50;

let redis: RedisBehindProxy;
/** Past the proxy. */
let direct: Redis;

beforeEach(async () => {
  redis = await startRedisBehindProxy(TIMEOUT_MS, CHECK_INTERVAL_MS);
  direct = new Redis(redis.redisUrl);
  await untilUsed();
});

afterEach(async () => {
  direct.disconnect();
  await redis.stop();
});

const untilUsed = (): Promise<unknown> =>
  waitFor(() => redis.link.isUsable, { description: "Redis to be used" });
const untilLost = (): Promise<unknown> =>
  waitFor(() => !redis.link.isUsable, { description: "the loss to be noticed" });

describe("a Redis that has vanished, while another one answers at its address,", () => {
  test("is given up, and the other one is used", async () => {
    redis.proxy.silence();
    await redis.proxy.mend();
    await untilLost();
    await expect(untilUsed()).resolves.toBe(true);
  });

  test("is given up also when it vanishes before it has said anything", async () => {
    let connections = 0;
    redis.link.client.on("connect", () => (connections += 1));
    redis.proxy.silence();
    await waitFor(() => connections === 2, { description: "a connection after one that was always silent" });
    await redis.proxy.mend();
    await expect(untilUsed()).resolves.toBe(true);
  });

  test("fails what it was asked, which is not asked again", async () => {
    const count = randomUUID();
    redis.proxy.silence();
    await redis.proxy.mend();
    await expect(redis.link.attempt((client) => client.incr(count))).resolves.toBeUndefined();
    await untilUsed();
    expect(await direct.exists(count)).toBe(0);
  });

  test("keeps from a node only for a while what others say", async () => {
    const { cache } = await cacherOf(redis.broker);
    redis.proxy.silence();
    await redis.proxy.mend();
    await waitFor(() => cache.peek("probe:1") === undefined, { description: "the silence to be noticed" });

    const keep = async (): Promise<string | undefined> => {
      const key = cacheKey("values.get", { key: randomUUID() });
      await cache.put(key, { version: 1, value: "old" });
      return cache.peek(key) && key;
    };
    const isHeard = async (): Promise<boolean> => {
      const key = await keep();
      if (key === undefined) return false;
      await direct.publish(REDIS_CHANNEL, JSON.stringify({ node: "other", key, version: 2 }));
      await waitFor(() => cache.peek(key) === undefined, { description: "the change", timeoutMs: 1000 });
      // It has heard of it, and not only left its memory alone meanwhile.
      return (await keep()) !== undefined;
    };
    await expect(waitFor(isHeard, { description: "the others to be heard" })).resolves.toBe(true);
  });
});
