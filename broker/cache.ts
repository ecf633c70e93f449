import { once } from "node:events";
import { Redis } from "ioredis";
import { Cachers, type ServiceBroker } from "moleculer";
import { fingerprint } from "../lib/canonical-json.ts";
import { broadcast } from "../lib/contracts.ts";

/** Entries that a node keeps in memory when there is no Redis. */
const MEMORY_ENTRIES = 10_000;

/** A frozen Redis must not hold a request for longer than this. */
const COMMAND_TIMEOUT_MS = 100;

const RECONNECT_DELAY_MS = 500;

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

/** What of Moleculer's cachers is not in their types. */
interface CacherInternals {
  /** While false, the broker calls actions as if there were no cache. */
  connected: boolean;
  cache: { updateAgeOnGet: boolean };
  client: Redis;
}

/** Moleculer's LRU cacher in the memory of the process. Results are shared, not copied: nobody changes them. */
export class MemoryCacher extends Cachers.MemoryLRU {
  constructor(options: { ttlSeconds: number }) {
    super({ ttl: options.ttlSeconds, max: MEMORY_ENTRIES, keygen, clone: false } as never);
    // Else an entry that is read often enough never expires, and the TTL is no bound on a stale read.
    (this as unknown as CacherInternals).cache.updateAgeOnGet = false;
  }
}

/**
 * Moleculer's Redis cacher that never fails a request: when Redis does not answer, reads miss and writes are skipped,
 * and no command is sent until {@link ping} has found Redis again.
 */
export class FailOpenRedisCacher extends Cachers.Redis {
  constructor(options: { url: string; ttlSeconds: number }) {
    super({
      prefix: "rollcall:",
      ttl: options.ttlSeconds,
      keygen,
      redlock: false,
      redis: redisOptions(options.url),
    } as never);
  }

  override init(broker: ServiceBroker): void {
    super.init(broker);
    // Moleculer logs every failed attempt to reconnect; the dependency monitor logs the loss once.
    this.#internals.client.removeAllListeners("error");
    this.#internals.client.on("error", () => this.#suspend());
  }

  /** Rejects when Redis does not answer; otherwise the cache is used (again) from here on. */
  async ping(): Promise<void> {
    const { client } = this.#internals;
    try {
      // At its start a node looks before it can be connected, which is no loss.
      if (client.status === "connecting" || client.status === "connect") await once(client, "ready");
      await client.ping();
      this.#internals.connected = true;
    } catch (error) {
      this.#suspend();
      throw error;
    }
  }

  override async get(key: string): Promise<Record<string, unknown> | null> {
    // Moleculer takes undefined for a miss, and null for a value.
    return (await this.#failOpen(() => super.get(key))) as Record<string, unknown> | null;
  }

  override async set(key: string, data: unknown, ttl?: number): Promise<void> {
    // Undefined stands for a miss, and is no JSON.
    if (data === undefined) return;
    await this.#failOpen(() => super.set(key, data, ttl));
  }

  override async del(keys: string | string[]): Promise<void> {
    await this.#failOpen(() => super.del(keys));
  }

  override async clean(match?: string | string[]): Promise<void> {
    await this.#failOpen(() => super.clean(match));
  }

  /** Does not wait for a Redis that may not answer. */
  override async close(): Promise<void> {
    this.#internals.client.disconnect();
  }

  async #failOpen<T>(command: () => Promise<T>): Promise<T | undefined> {
    if (!this.#internals.connected) return undefined;
    try {
      return await command();
    } catch (error) {
      this.#suspend();
      this.logger.debug({ err: error }, "cache command failed");
      return undefined;
    }
  }

  #suspend(): void {
    this.#internals.connected = false;
  }

  get #internals(): CacherInternals {
    return this as unknown as CacherInternals;
  }
}

/** ioredis reads connection details from the URL; Moleculer passes on one argument, so they are merged here. */
function redisOptions(url: string): object {
  const { host, port, username, password, db, tls } = new Redis(url, { lazyConnect: true }).options;
  return {
    host,
    port,
    username,
    password,
    db,
    ...(tls && { tls }),
    // Commands fail at once while Redis is away, instead of waiting in line for it.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: 1000,
    retryStrategy: () => RECONNECT_DELAY_MS,
  };
}
