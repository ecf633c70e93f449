import type { Registry } from "prom-client";
import { showMetric, type Sample } from "../shown-metrics.ts";
import type { Cache } from "./cache.ts";
import type { LevelStatistics } from "./statistics.ts";

const COUNTERS = {
  hits: "Lookups that found an entry",
  misses: "Lookups that found none",
  evictions: "Entries that had to go before their time, for others",
  errors: "Operations that failed or found something unreadable",
} as const;

const LATENCY = "cache_operation_latency_seconds";

/** Shows what a cache counts. */
export function watchCache(registry: Registry, cache: Cache): void {
  const samples = (valueOf: (statistics: LevelStatistics) => number): Sample[] =>
    [...cache.statistics.all()].map(({ level, namespace, statistics }) => ({
      labels: { level, namespace },
      value: valueOf(statistics),
    }));
  for (const [name, help] of Object.entries(COUNTERS) as [keyof typeof COUNTERS, string][]) {
    const look = (): Sample[] => samples((statistics) => statistics[name]);
    showMetric(registry, { name: `cache_${name}_total`, help, type: "counter", look });
  }
  showMetric(registry, {
    name: "cache_hit_ratio",
    help: "Part of the lookups that found an entry, since the start of the node",
    type: "gauge",
    look: () => samples(({ hitRatio }) => hitRatio),
  });
  showMetric(registry, {
    name: "cache_size",
    help: "Entries; of Redis, all keys of its database",
    type: "gauge",
    look: async () =>
      (await cache.sizes()).map(({ level, namespace, entries }) => ({
        labels: { level, namespace },
        value: entries,
      })),
  });
  showMetric(registry, {
    name: LATENCY,
    help: "Duration of an operation on a level of the cache",
    type: "histogram",
    look: () =>
      [...cache.statistics.all()].flatMap(({ level, namespace, statistics }) =>
        statistics.latency.samples(LATENCY, { level, namespace }),
      ),
  });
}
