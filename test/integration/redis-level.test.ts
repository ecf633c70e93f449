import { randomUUID } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";

import { entryOf, encode, type Keepable } from "../../broker/cache/entry.ts";
import { RedisLevel, STORED } from "../../broker/cache/redis-level.ts";
import { CacheStatistics } from "../../broker/cache/statistics.ts";
import { startRedisBehindProxy, type RedisBehindProxy } from "../support/redis-behind-proxy.ts";
import { waitFor } from "../support/wait-for.ts";

const TIMEOUT_MS = 5000;
const NAMESPACE = "values.get";

let redis: RedisBehindProxy;
let level: RedisLevel;

beforeEach(async () => {
  redis = await startRedisBehindProxy(TIMEOUT_MS, 50);
  level = new RedisLevel(redis.link, "node", new CacheStatistics());
  await untilUsed();
});

afterEach(() => redis.stop());

const untilUsed = (): Promise<unknown> =>
  waitFor(() => redis.link.isUsable, { description: "Redis to be used" });
const newKey = (): string => `${NAMESPACE}:${randomUUID()}`;
const keepable = (version: number): Keepable => {
  const entry = entryOf({ version });
  return { entry, text: encode(entry), lifeMs: 60_000 };
};

/** Puts an entry into Redis, as a read does. */
async function fill(key: string): Promise<void> {
  await level.get(key);
  const epoch = level.epochOf(key);
  if (epoch === undefined) throw new Error("Redis has made no epoch.");
  await expect(level.fill(key, keepable(1), epoch)).resolves.toBe(STORED);
}

describe("a purge that fails while Redis is being told of earlier changes", () => {
  test("leaves nothing of before it to be read, until Redis was told of it too", async () => {
    const key = newKey();
    await fill(key);
    const [told, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    // Told of the changes after those of the level, Redis is not used yet.
    redis.link.beforeUse(async () => {
      told.resolve();
      await answered.promise;
    });
    await redis.proxy.cut();
    await waitFor(() => !redis.link.isUsable, { description: "the loss to be noticed" });
    await redis.proxy.mend();
    await told.promise;

    await level.purge(NAMESPACE);
    answered.resolve();
    await untilUsed();
    await expect(level.get(key)).resolves.toBeUndefined();
    await level.settle();
    await expect(level.get(key)).resolves.toBeUndefined();
    await fill(key);
    await expect(level.get(key)).resolves.toMatchObject({ entry: { version: 1 } });
  });
});
