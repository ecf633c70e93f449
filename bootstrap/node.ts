import type { Logger } from "pino";
import type { NodeMetrics } from "../broker/metrics.ts";
import type { Config } from "../lib/config.ts";
import type { Database } from "../lib/database.ts";
import type { DependencyMonitor } from "../lib/dependency-monitor.ts";
import type { RedisLink } from "../lib/redis-link.ts";
import type { Storage } from "../lib/storage/storage.ts";

/** What a node gives to the services that it runs. Services are factories that take it. */
export interface Node {
  readonly config: Config;
  readonly log: Logger;
  /** The configured SECRET, or the one kept in DATA_DIR. */
  readonly secret: string;
  /** AUTH_KEYS, or the one kept in DATA_DIR; none on a node that does not run auth. */
  readonly authKeys: readonly string[];
  /** Everything that the node itself depends on, by name. */
  readonly monitors: ReadonlyMap<string, DependencyMonitor>;
  /** Undefined when the node has no METRICS_PORT. */
  readonly metrics?: NodeMetrics | undefined;
  /** Undefined when the node has no REDIS_URL. */
  readonly redis?: RedisLink | undefined;
  /** From the moment at which the node is asked to stop. It still answers then, but wants no new work. */
  isStopping(): boolean;
  /** @throws Error on a node none of whose services uses the database */
  readonly database: Database;
  /** Where the bytes of images are. @throws Error on a node none of whose services uses it */
  readonly storage: Storage;
}
