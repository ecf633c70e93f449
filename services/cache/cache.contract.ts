import type { HealthReport } from "../../lib/health.ts";
import type { Infer } from "../../lib/validation.ts";

/** What one level of the cache has done for the answers of one action. */
export interface CacheLevelStatistics {
  /** `memory` of all nodes together, or `redis`. */
  level: "memory" | "redis";
  /** The action whose answers are cached; `*` for what cannot be told apart. */
  namespace: string;
  hits: number;
  misses: number;
  /** Part of the lookups that were hits; 0 when there was none. */
  hitRatio: number;
  evictions: number;
  errors: number;
  /** Null where it cannot be told apart: what is in Redis is counted under `*`. */
  entries: number | null;
  bytes: number | null;
  operations: number;
  meanLatencyMs: number;
}

/** The caches of all nodes, since the start of each. */
export interface CacheStats {
  /** Nodes that have answered. */
  nodes: number;
  levels: CacheLevelStatistics[];
}

export interface Purged {
  /** The namespaces of which everything, or one entry, was dropped. */
  namespaces: string[];
}

export interface Warmed {
  users: number;
}

/** Namespaces are names of actions. */
const namespace = {
  type: "string",
  pattern: /^[A-Za-z$][\w$]*\.[A-Za-z$][\w$.]*$/,
  max: 100,
  messages: { stringPattern: "The '{field}' field must be the name of an action, such as users.get." },
  optional: true,
} as const;

export const statsParams = { $$strict: true } as const;
export const purgeParams = {
  $$strict: true,
  namespace,
  id: { type: "uuid", optional: true },
} as const;
export const warmParams = {
  $$strict: true,
  limit: { type: "number", integer: true, min: 1, max: 10_000, convert: true, default: 1000 },
} as const;

export const recentParams = {
  $$strict: true,
  namespace: { ...namespace, optional: false },
  limit: { type: "number", integer: true, min: 1, max: 10_000 },
} as const;

/** Actions of the cache service, and of what every node has for it. */
export interface CacheActions {
  "cache.health": { params: Record<string, never>; result: HealthReport };
  "cache.stats": { params: Record<string, never>; result: CacheStats };
  /**
   * Drops what is cached on every node: of one namespace or all, and there of one resource or all. For when rows were
   * changed past the services, or a database was restored.
   *
   * @throws VALIDATION_FAILED for a namespace that nothing is cached in
   */
  "cache.purge": { params: Infer<typeof purgeParams>; result: Purged };
  /** Reads the users that were read most recently on any node, as far as caches know, so that Redis has them. */
  "cache.warm": { params: Partial<Infer<typeof warmParams>>; result: Warmed };
  /** Of the node that is called. */
  "cache-node.stats": { params: Record<string, never>; result: CacheLevelStatistics[] };
  /** Ids of the resources that are in the memory of the node that is called, those read last first. */
  "cache-node.recent": { params: Infer<typeof recentParams>; result: string[] };
}
