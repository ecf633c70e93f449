import { Cachers, type ServiceBroker } from "moleculer";
import { fingerprint } from "../lib/canonical-json.ts";
import { broadcast } from "../lib/contracts.ts";
import type { RedisLink } from "../lib/redis-link.ts";

/** Entries that a node keeps in memory when there is no Redis. */
const MEMORY_ENTRIES = 10_000;

/** The key of a cached call. Equal parameters give equal keys, others never do (SHA-256 of canonical JSON). */
export function cacheKey(action: string, params: unknown): string {
  return `${action}:${fingerprint(params)}`;
}

/** Moleculer's way to ask for a key. */
function keygen(action: { name: string }, _options: unknown, ctx: { params: unknown }): string {
  return cacheKey(action.name, ctx.params);
}

/** Drops entries that a change has made stale, on every node that may have them. */
export async function invalidateCache(broker: ServiceBroker, keys: string[]): Promise<void> {
  if (broker.cacher instanceof MemoryCacher) await broadcast(broker, "cache-invalidated", { keys });
  else await broker.cacher?.del(keys);
}

/** Moleculer's LRU cacher in the memory of the process. Results are shared, not copied: nobody changes them. */
export class MemoryCacher extends Cachers.MemoryLRU {
  constructor(options: { ttlSeconds: number }) {
    super({ ttl: options.ttlSeconds, max: MEMORY_ENTRIES, keygen, clone: false } as never);
    // Else an entry that is read often enough never expires, and the TTL is no bound on a stale read.
    (this as unknown as { cache: { updateAgeOnGet: boolean } }).cache.updateAgeOnGet = false;
  }
}

/** Moleculer's Redis cacher that never fails a request: without Redis, reads miss and writes are skipped. */
export class FailOpenRedisCacher extends Cachers.Redis {
  readonly link: RedisLink;

  constructor({ link, ttlSeconds }: { link: RedisLink; ttlSeconds: number }) {
    super({
      prefix: "rollcall:",
      ttl: ttlSeconds,
      keygen,
      redlock: false,
      redis: { lazyConnect: true },
    } as never);
    this.link = link;
    // While it is false, the broker calls actions as if there were no cache.
    Object.defineProperty(this, "connected", { get: () => link.isUsable, set: () => {} });
  }

  override init(broker: ServiceBroker): void {
    super.init(broker);
    // In place of the one that Moleculer has made, which never connects.
    Object.assign(this, { client: this.link.client });
  }

  override async get(key: string): Promise<Record<string, unknown> | null> {
    // Moleculer takes undefined for a miss, and null for a value.
    return (await this.link.attempt(() => super.get(key))) as Record<string, unknown> | null;
  }

  override async set(key: string, data: unknown, ttl?: number): Promise<void> {
    // Undefined stands for a miss, and is no JSON.
    if (data === undefined) return;
    await this.link.attempt(() => super.set(key, data, ttl));
  }

  override async del(keys: string | string[]): Promise<void> {
    await this.link.attempt(() => super.del(keys));
  }

  override async clean(match?: string | string[]): Promise<void> {
    await this.link.attempt(() => super.clean(match));
  }

  override async close(): Promise<void> {
    this.link.close();
  }
}
