import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { RateLimiter } from "../../lib/rate-limiter.ts";
import { RedisLink } from "../../lib/redis-link.ts";
import type { Quota, Verdict } from "../../lib/sliding-window.ts";
import { startRedis } from "../support/redis.ts";
import type { TestServer } from "../support/server-process.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { waitFor } from "../support/wait-for.ts";

const QUOTA: Quota = { limit: 100, windowSeconds: 3600 };
/** Short, but longer than a few requests take on a busy machine. */
const SHORT: Quota = { limit: 3, windowSeconds: 2 };
const NARROW: Quota = { ...QUOTA, limit: 3 };

let redis: TestServer;

beforeAll(async () => {
  redis = await startRedis();
});

afterAll(() => redis.stop());

/** A limiter of a process must count so, on Redis and without it. */
describe.each(["in memory", "on Redis"])("a limiter %s", (where) => {
  let link: RedisLink | undefined;
  let limiter: RateLimiter;

  beforeAll(async () => {
    if (where === "on Redis") link = new RedisLink(redis.url, { timeoutMs: 5000, log: silentLogger });
    await link?.ping();
    limiter = new RateLimiter(link);
  });

  afterAll(() => link?.close());

  const takeMany = (count: number, key: string, quota: Quota): Promise<Verdict[]> =>
    Promise.all(Array.from({ length: count }, () => limiter.take(key, quota)));
  const allowedOf = (verdicts: readonly Verdict[]): number =>
    verdicts.filter(({ isAllowed }) => isAllowed).length;

  test("allows exactly as many requests at once as the limit says", async () => {
    expect(allowedOf(await takeMany(1000, randomUUID(), QUOTA))).toBe(100);
  });

  test("counts each client for itself", async () => {
    const [one, other] = await Promise.all([
      takeMany(150, randomUUID(), QUOTA),
      takeMany(50, randomUUID(), QUOTA),
    ]);
    expect([allowedOf(one), allowedOf(other)]).toEqual([100, 50]);
  });

  test("says what is left, and for how long", async () => {
    const key = randomUUID();
    expect(await limiter.take(key, QUOTA)).toEqual({ isAllowed: true, remaining: 99, resetSeconds: 3600 });
    const [last] = (await takeMany(98, key, QUOTA)).slice(-1);
    expect(last).toMatchObject({ isAllowed: true, remaining: 1 });
  });

  test("tells each of many requests at once what is left after it, and none that there is less than nothing", async () => {
    const verdicts = await takeMany(103, randomUUID(), QUOTA);
    const left = Array.from({ length: 103 }, (_, index) => Math.max(0, 99 - index));
    expect(verdicts.map(({ remaining }) => remaining)).toEqual(left);
    expect(verdicts.slice(99).map(({ isAllowed }) => isAllowed)).toEqual([true, false, false, false]);
  });

  test("counts requests of one client against two quotas at once, and what is given back meanwhile", async () => {
    const key = randomUUID();
    await takeMany(2, key, QUOTA);
    const wide = { ...QUOTA, limit: 5 };
    const [narrow, , last] = await Promise.all([
      takeMany(2, key, NARROW),
      limiter.giveBack(key, QUOTA),
      takeMany(4, key, wide),
    ]);
    expect(narrow.map(({ isAllowed }) => isAllowed)).toEqual([true, false]);
    expect(allowedOf(last)).toBe(3);
  });

  test("says how long a refused client has to wait, which a refusal does not make longer", async () => {
    const key = randomUUID();
    await takeMany(100, key, QUOTA);
    const refusals = await takeMany(20, key, QUOTA);
    for (const { isAllowed, remaining, resetSeconds } of refusals) {
      expect([isAllowed, remaining]).toEqual([false, 0]);
      // The window, and a hundredth of the next one.
      expect(resetSeconds).toBeGreaterThan(3600 + 30);
      expect(resetSeconds).toBeLessThanOrEqual(3600 + 37);
    }
  });

  test("allows a client more when its window has passed", async () => {
    const key = randomUUID();
    await takeMany(3, key, SHORT);
    expect((await limiter.take(key, SHORT)).isAllowed).toBe(false);
    await waitFor(async () => (await limiter.take(key, SHORT)).isAllowed, {
      description: "a request to be allowed again",
    });
  });

  test("takes back what is given back", async () => {
    const key = randomUUID();
    await takeMany(100, key, QUOTA);
    await limiter.giveBack(key, QUOTA);
    expect(allowedOf(await takeMany(5, key, QUOTA))).toBe(1);
  });

  test("counts against two quotas of one client apart", async () => {
    const key = randomUUID();
    await takeMany(100, `reads:${key}`, QUOTA);
    expect((await limiter.take(`writes:${key}`, QUOTA)).remaining).toBe(99);
  });
});
