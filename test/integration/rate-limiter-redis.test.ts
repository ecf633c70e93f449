import { randomUUID } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Redis } from "ioredis";

import { DependencyMonitor } from "../../lib/dependency-monitor.ts";
import { RateLimiter } from "../../lib/rate-limiter.ts";
import { RedisLink } from "../../lib/redis-link.ts";
import type { Quota } from "../../lib/sliding-window.ts";
import { startRedis } from "../support/redis.ts";
import type { TestServer } from "../support/server-process.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { waitFor } from "../support/wait-for.ts";

const QUOTA: Quota = { limit: 100, windowSeconds: 3600 };

/** A frozen Redis holds a request for the time-out of the link; the rest is what a busy machine may need. */
const TIMEOUT_MS = 1000;
const MAX_LATENCY_MS = 5000;

/** A limiter of one process, with the connection and the monitor that a node has. */
interface Process {
  readonly limiter: RateLimiter;
  readonly link: RedisLink;
  readonly monitor: DependencyMonitor;
}

let redis: TestServer;
let processes: Process[];

beforeEach(async () => {
  redis = await startRedis();
  processes = await Promise.all(Array.from({ length: 4 }, startProcess));
});

afterEach(async () => {
  for (const { link, monitor } of processes) {
    monitor.stop();
    link.close();
  }
  await redis.stop();
});

async function startProcess(): Promise<Process> {
  const link = new RedisLink(redis.url, { timeoutMs: TIMEOUT_MS, log: silentLogger });
  const check = () => link.ping();
  const monitor = new DependencyMonitor({ name: "redis", check, log: silentLogger, intervalMs: 50 });
  await monitor.start();
  return { limiter: new RateLimiter(link), link, monitor };
}

function processAt(index: number): Process {
  const found = processes[index];
  if (!found) throw new Error(`There is no process ${index}.`);
  return found;
}

const untilUsed = (isUsed: boolean): Promise<unknown> =>
  waitFor(() => processes.every(({ link }) => link.isUsable === isUsed), {
    description: `Redis to be ${isUsed ? "used" : "given up"}`,
  });

/** How many of this many requests are allowed by a process. */
async function allowedBy({ limiter }: Process, key: string, count: number): Promise<number> {
  const verdicts = await Promise.all(Array.from({ length: count }, () => limiter.take(key, QUOTA)));
  return verdicts.filter(({ isAllowed }) => isAllowed).length;
}

async function latencyOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

test("what the processes keep in Redis is gone after two windows", async () => {
  const key = randomUUID();
  await processAt(0).limiter.take(key, QUOTA);
  const client = new Redis(redis.url);
  try {
    expect(await client.keys("*")).toEqual([key]);
    const lifeMs = await client.pttl(key);
    expect(lifeMs).toBeGreaterThan(7_100_000);
    expect(lifeMs).toBeLessThanOrEqual(7_200_000);
  } finally {
    client.disconnect();
  }
});

describe("when Redis is killed", () => {
  test("requests go on at once, and each process counts on from what it knew", async () => {
    const key = randomUUID();
    expect(await allowedBy(processAt(0), key, 70)).toBe(70);
    expect(await allowedBy(processAt(1), key, 20)).toBe(20);
    await redis.kill();
    await untilUsed(false);

    expect(await latencyOf(async () => expect(await allowedBy(processAt(1), key, 50)).toBe(10))).toBeLessThan(
      MAX_LATENCY_MS,
    );
    // The first has not heard of what the second took, and the third of neither.
    expect(await allowedBy(processAt(0), key, 50)).toBe(30);
    expect(await allowedBy(processAt(2), key, 150)).toBe(100);
  });

  test("they count together again when it is back", async () => {
    await redis.kill();
    await untilUsed(false);
    await redis.restart();
    await untilUsed(true);
    const key = randomUUID();
    const allowed = await Promise.all(processes.map((each) => allowedBy(each, key, 100)));
    expect(allowed.reduce((sum, count) => sum + count)).toBe(100);
  });

  test("no request that was under way fails", async () => {
    const key = randomUUID();
    const running = processes.map((each) => allowedBy(each, key, 200));
    await redis.kill();
    for (const allowed of await Promise.all(running)) expect(allowed).toBeLessThanOrEqual(100);
  });
});

describe("when Redis is frozen", () => {
  afterEach(() => redis.thaw());

  test("requests wait once for the time-out, together, and then not at all", async () => {
    const key = randomUUID();
    redis.freeze();
    const first = await latencyOf(() => Promise.all(processes.map((each) => allowedBy(each, key, 50))));
    expect(first).toBeLessThan(MAX_LATENCY_MS);
    await untilUsed(false);
    const later = await latencyOf(async () => {
      for (let count = 0; count < 30; count += 1) await processAt(0).limiter.take(key, QUOTA);
    });
    // Waiting for each would take 30 seconds.
    expect(later).toBeLessThan(MAX_LATENCY_MS);
    expect(await allowedBy(processAt(0), key, 100)).toBe(20);
  });

  test("it is used again when it goes on", async () => {
    redis.freeze();
    await untilUsed(false);
    redis.thaw();
    await untilUsed(true);
    const key = randomUUID();
    const allowed = await Promise.all(processes.map((each) => allowedBy(each, key, 50)));
    expect(allowed.reduce((sum, count) => sum + count)).toBe(100);
  });
});
