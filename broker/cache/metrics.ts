import { Counter, Gauge, type Metric, type Registry } from "prom-client";
import type { Cache } from "./cache.ts";
import { LATENCY_BUCKETS_S, type LevelStatistics } from "./statistics.ts";

const labelNames = ["level", "namespace"] as const;

const COUNTERS = {
  hits: "Lookups that found an entry",
  misses: "Lookups that found none",
  evictions: "Entries that had to go before their time, for others",
  errors: "Operations that failed or found something unreadable",
} as const;

/** Shows what a cache counts. Its numbers are looked at when Prometheus asks. */
export function watchCache(registry: Registry, cache: Cache): void {
  const registers = [registry];
  for (const [name, help] of Object.entries(COUNTERS) as [keyof typeof COUNTERS, string][]) {
    const counter: Counter = new Counter({
      name: `cache_${name}_total`,
      help,
      labelNames,
      registers,
      collect() {
        counter.reset();
        for (const { level, namespace, statistics } of cache.statistics.all()) {
          counter.inc({ level, namespace }, statistics[name]);
        }
      },
    });
  }
  const ratio: Gauge = new Gauge({
    name: "cache_hit_ratio",
    help: "Part of the lookups that found an entry, since the start of the node",
    labelNames,
    registers,
    collect() {
      for (const { level, namespace, statistics } of cache.statistics.all()) {
        ratio.set({ level, namespace }, statistics.hitRatio);
      }
    },
  });
  const size: Gauge = new Gauge({
    name: "cache_size",
    help: "Entries; of Redis, all keys of its database",
    labelNames,
    registers,
    async collect() {
      size.reset();
      for (const { level, namespace, entries } of await cache.sizes())
        size.set({ level, namespace }, entries);
    },
  });
  registry.registerMetric(latencyMetric(cache) as unknown as Metric);
}

/** A histogram of what is counted already: prom-client's own counts by itself, at more than the cost of a hit. */
function latencyMetric(cache: Cache): { name: string; get(): Promise<object> } {
  const name = "cache_operation_latency_seconds";
  const valuesOf = (labels: object, statistics: LevelStatistics): object[] => {
    let sum = 0;
    const buckets = statistics.buckets.map((count, index) => {
      sum += count;
      const le = LATENCY_BUCKETS_S[index] ?? "+Inf";
      return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: sum };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: statistics.totalSeconds },
      { metricName: `${name}_count`, labels, value: sum },
    ];
  };
  return {
    name,
    async get() {
      const all = [...cache.statistics.all()];
      return {
        name,
        help: "Duration of an operation on a level of the cache",
        type: "histogram",
        aggregator: "sum",
        values: all.flatMap(({ statistics, ...labels }) => valuesOf(labels, statistics)),
      };
    },
  };
}
