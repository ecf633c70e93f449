import type { Logger } from "pino";
import type { Config } from "../../lib/config.ts";
import type { RedisLink } from "../../lib/redis-link.ts";
import { Cacher } from "./cacher.ts";
import { NoCache } from "./no-cache.ts";
import { TieredCache } from "./tiered-cache.ts";

const MEBIBYTE = 1_048_576;

/** The cacher of a node, as configured. */
export function createCacher(config: Config, redis: RedisLink | undefined, log: Logger): Cacher {
  if (config.CACHE === "none") return new Cacher(new NoCache());
  return new Cacher(
    new TieredCache({
      nodeId: config.NODE_ID,
      ttlSeconds: config.CACHE_TTL_SECONDS,
      maxEntries: config.CACHE_MAX_ENTRIES,
      maxBytes: config.CACHE_MAX_MEMORY_MB * MEBIBYTE,
      redis: config.CACHE === "memory" ? undefined : redis,
      log,
    }),
  );
}
