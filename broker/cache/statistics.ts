import { DurationHistogram } from "../duration-histogram.ts";

export const CACHE_LEVELS = ["memory", "redis"] as const;
export type CacheLevel = (typeof CACHE_LEVELS)[number];

/** Upper bounds of the buckets, in seconds: from an entry in memory to a Redis that is given up. */
const LATENCY_BUCKETS_S = [0.00001, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1];

/** What has happened at one level to the entries of one namespace, since the start of the node. */
export class LevelStatistics {
  hits = 0;
  misses = 0;
  evictions = 0;
  errors = 0;
  readonly latency = new DurationHistogram(LATENCY_BUCKETS_S);

  /** Of the lookups; 0 when there was none. */
  get hitRatio(): number {
    const lookups = this.hits + this.misses;
    return lookups === 0 ? 0 : this.hits / lookups;
  }

  /** @param startedAt of `performance.now()` */
  observe(startedAt: number): void {
    this.latency.observe((performance.now() - startedAt) / 1000);
  }
}

/** Counts by level and namespace. Plain numbers: a counter of prom-client would cost more than a hit. */
export class CacheStatistics {
  readonly #levels: Readonly<Record<CacheLevel, Map<string, LevelStatistics>>> = {
    memory: new Map(),
    redis: new Map(),
  };

  of(level: CacheLevel, namespace: string): LevelStatistics {
    const known = this.#levels[level].get(namespace);
    if (known) return known;
    const statistics = new LevelStatistics();
    this.#levels[level].set(namespace, statistics);
    return statistics;
  }

  *all(): Generator<{ level: CacheLevel; namespace: string; statistics: LevelStatistics }> {
    for (const level of CACHE_LEVELS) {
      for (const [namespace, statistics] of this.#levels[level]) yield { level, namespace, statistics };
    }
  }
}
