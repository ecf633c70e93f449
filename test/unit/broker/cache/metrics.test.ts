import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { Registry } from "prom-client";

import { watchCache } from "../../../../broker/cache/metrics.ts";
import { TieredCache } from "../../../../broker/cache/tiered-cache.ts";
import { silentLogger } from "../../../support/silent-logger.ts";

const registry = new Registry();
const cache = new TieredCache({
  nodeId: "a",
  ttlSeconds: 60,
  maxEntries: 2,
  maxBytes: 1_000_000,
  log: silentLogger,
});
let lines: string[];

beforeAll(async () => {
  watchCache(registry, cache);
  for (const key of ["a.get:1", "a.get:2", "a.get:3"]) {
    cache.peek(key);
    await cache.read(key, async () => ({ version: 1 }));
  }
  for (let count = 0; count < 9; count += 1) cache.peek("a.get:3");
  // Twice: what is counted elsewhere must not be added up by being looked at.
  await registry.metrics();
  lines = (await registry.metrics()).split("\n");
});

afterAll(() => cache.stop());

const LABELS = '{level="memory",namespace="a.get"}';

describe("the metrics of the cache", () => {
  test.each([
    ["cache_hits_total", 9],
    ["cache_misses_total", 3],
    ["cache_evictions_total", 1],
    ["cache_errors_total", 0],
    ["cache_size", 2],
    ["cache_hit_ratio", 0.75],
    ["cache_operation_latency_seconds_count", 12],
  ])("have %s", (name, value) => {
    expect(lines).toContain(`${name}${LABELS} ${value}`);
  });

  test("have latencies in buckets that add up", () => {
    const buckets = lines.filter((line) => line.startsWith("cache_operation_latency_seconds_bucket"));
    const counts = buckets.map((line) => Number(line.split(" ").at(-1)));
    expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    expect(buckets.at(-1)).toMatch(/le="\+Inf"\} 12$/);
  });
});
