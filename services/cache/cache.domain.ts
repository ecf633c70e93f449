import type { Cache } from "../../broker/cache/cache.ts";
import type { CacheLevelStatistics } from "./cache.contract.ts";

/** What the cache of a node has counted. */
export async function readStatistics(cache: Cache): Promise<CacheLevelStatistics[]> {
  const sizes = await cache.sizes();
  const levels: CacheLevelStatistics[] = [];
  for (const { level, namespace, statistics } of cache.statistics.all()) {
    const { hits, misses, hitRatio, evictions, errors, latency } = statistics;
    const operations = latency.count;
    const size = sizes.find((one) => one.level === level && one.namespace === namespace);
    levels.push({
      level,
      namespace,
      hits,
      misses,
      hitRatio,
      evictions,
      errors,
      entries: size?.entries ?? (level === "memory" ? 0 : null),
      bytes: size?.bytes ?? (level === "memory" ? 0 : null),
      operations,
      meanLatencyMs: operations === 0 ? 0 : (latency.totalSeconds / operations) * 1000,
    });
  }
  const whole = sizes.find(({ level, namespace }) => level === "redis" && namespace === "*");
  if (whole) levels.push({ ...NOTHING, ...whole });
  return levels;
}

const NOTHING = {
  hits: 0,
  misses: 0,
  hitRatio: 0,
  evictions: 0,
  errors: 0,
  operations: 0,
  meanLatencyMs: 0,
};

/** The statistics of several nodes as one. The memory of each is its own, Redis is the same for all. */
export function addUp(nodes: readonly CacheLevelStatistics[][]): CacheLevelStatistics[] {
  const byName = Map.groupBy(nodes.flat(), ({ level, namespace }) => `${level} ${namespace}`);
  return [...byName.values()].map((parts) => parts.reduce(add)).toSorted(byLevelAndNamespace);
}

function add(a: CacheLevelStatistics, b: CacheLevelStatistics): CacheLevelStatistics {
  const join = a.level === "memory" ? sum : largest;
  const [hits, misses, operations] = [a.hits + b.hits, a.misses + b.misses, a.operations + b.operations];
  return {
    level: a.level,
    namespace: a.namespace,
    hits,
    misses,
    hitRatio: hits + misses === 0 ? 0 : hits / (hits + misses),
    evictions: a.evictions + b.evictions,
    errors: a.errors + b.errors,
    entries: join(a.entries, b.entries),
    bytes: join(a.bytes, b.bytes),
    operations,
    meanLatencyMs:
      operations === 0 ? 0 : (a.meanLatencyMs * a.operations + b.meanLatencyMs * b.operations) / operations,
  };
}

const sum = (a: number | null, b: number | null) => (a ?? 0) + (b ?? 0);
const largest = (a: number | null, b: number | null) => (a === null ? b : Math.max(a, b ?? 0));

function byLevelAndNamespace(a: CacheLevelStatistics, b: CacheLevelStatistics): number {
  return `${a.level} ${a.namespace}` < `${b.level} ${b.namespace}` ? -1 : 1;
}

/** Takes from several lists, in each the most recent first, one after the other, and nothing twice. */
export function interleave(lists: readonly string[][], limit: number): string[] {
  const taken = new Set<string>();
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  for (let index = 0; index < longest; index += 1) {
    for (const list of lists) {
      const item = list[index];
      if (item !== undefined && taken.size < limit) taken.add(item);
    }
  }
  return [...taken];
}
