import { isDeepStrictEqual } from "node:util";
import type { NatsConnection } from "nats";
import type { Logger } from "pino";
import type { RedisLink } from "../../lib/redis-link.ts";
import { inTime } from "../../lib/waiting.ts";
import type { Answer, Cache, CacheChange, LevelSize, Load } from "./cache.ts";
import { namespaceOf } from "./cache-key.ts";
import { BEAT_INTERVAL_MS } from "./coverage.ts";
import { absenceOf, encode, entryOf, toldVersionOf, type CacheEntry, type Keepable } from "./entry.ts";
import { MemoryLevel } from "./memory-level.ts";
import type { Invalidation } from "./messages.ts";
import { Peers } from "./peers.ts";
import { RedisLevel, STORED } from "./redis-level.ts";
import { CacheStatistics } from "./statistics.ts";

/** Neither a read nor a change waits for Redis longer than this, though Redis is not given up for it. */
const PATIENCE_MS = 15;

/** What took longer to read is not kept: a change since then may have been forgotten. */
const MAX_READ_MS = 30_000;

/** How long it is remembered that there is nothing. */
const ABSENCE_LIFE_MS = 10_000;
/** How long that there is nothing any more: longer than any read takes, so that none brings it back. */
const TOMBSTONE_LIFE_MS = 60_000;

interface TieredOptions {
  nodeId: string;
  ttlSeconds: number;
  maxEntries: number;
  maxBytes: number;
  /** The second level; without it, there is only the memory. */
  redis?: RedisLink | undefined;
  log: Pick<Logger, "debug">;
}

/**
 * The cache of a node: its memory over Redis. An older version never takes the place of a newer one, on any level; a
 * change reaches the memory of every node; and what cannot be had from Redis is had from what is behind it.
 */
export class TieredCache implements Cache {
  readonly statistics = new CacheStatistics();
  readonly #lifeMs: number;
  readonly #memory: MemoryLevel;
  readonly #redis: RedisLevel | undefined;
  readonly #peers: Peers;
  /** Reads under way, by key: what others wait for who want the same. */
  readonly #flights = new Map<string, Promise<Answer>>();
  /** The server that each entry was last written to. */
  readonly #inRedis = new WeakMap<CacheEntry, string>();
  #settleTimer: NodeJS.Timeout | undefined;

  constructor({ nodeId, ttlSeconds, maxEntries, maxBytes, redis, log }: TieredOptions) {
    this.#lifeMs = ttlSeconds * 1000;
    const onEviction = (namespace: string): void => {
      this.statistics.of("memory", namespace).evictions += 1;
    };
    this.#memory = new MemoryLevel({ maxEntries, maxBytes, onEviction });
    this.#redis = redis && new RedisLevel(redis, nodeId, this.statistics);
    this.#peers = new Peers({
      nodeId,
      redis,
      log,
      onInvalidation: (message) => this.#hear(message),
      onGap: () => {
        this.#memory.clear();
        this.#flights.clear();
      },
    });
  }

  peek(key: string): CacheEntry | undefined {
    const startedAt = performance.now();
    const entry = this.#peers.isHeard ? this.#memory.get(key) : undefined;
    const statistics = this.statistics.of("memory", namespaceOf(key));
    if (entry) statistics.hits += 1;
    else statistics.misses += 1;
    statistics.observe(startedAt);
    return entry;
  }

  async get(key: string): Promise<CacheEntry | undefined> {
    return this.peek(key) ?? (await this.#lookInRedis(key))?.entry;
  }

  async read(key: string, load: Load): Promise<Answer> {
    const running = this.#flights.get(key);
    if (running) return { ...(await running), isCollapsed: true };
    const flight = this.#fetch(key, load).finally(() => {
      // After a change there may be another one, which began later.
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    this.#flights.set(key, flight);
    return flight;
  }

  async refresh(key: string, load: Load): Promise<Answer> {
    // Else Redis could not be given what is read, and would keep what it has.
    const needsEpoch = !load.isRemote && this.#redis?.epochOf(key) === undefined;
    if (needsEpoch) await this.#lookInRedis(key);
    return this.#load(key, load);
  }

  async change(changes: readonly CacheChange[]): Promise<void> {
    await Promise.all(
      changes.map(async ({ key, entry, version, isNew }) => {
        if (entry && isNew) this.#add(key, this.#keepable(entry, true));
        else if (entry) this.#write(key, this.#keepable(entry, true));
        else if (version === undefined) await this.#drop(key);
        else await this.#raise(key, version);
      }),
    );
  }

  async put(key: string, entry: CacheEntry, lifeMs = this.#lifeMs): Promise<void> {
    this.#write(key, { entry, text: encode(entry), lifeMs });
  }

  async purge(namespaces: readonly string[]): Promise<void> {
    await Promise.all(namespaces.map((namespace) => this.#purge(namespace)));
  }

  recent(namespace: string): Iterable<CacheEntry> {
    return this.#memory.recent(namespace);
  }

  async sizes(): Promise<LevelSize[]> {
    const sizes: LevelSize[] = [];
    for (const [namespace, size] of this.#memory.sizes) sizes.push({ level: "memory", namespace, ...size });
    const inRedis = await this.#redis?.size();
    if (inRedis) sizes.push({ level: "redis", namespace: "*", ...inRedis });
    return sizes;
  }

  start(nats: NatsConnection | null): void {
    this.#peers.start(nats);
    this.#settleTimer = setInterval(() => void this.#redis?.settle(), BEAT_INTERVAL_MS);
    this.#settleTimer.unref();
  }

  stop(): void {
    clearInterval(this.#settleTimer);
    this.#peers.stop();
  }

  async #fetch(key: string, load: Load): Promise<Answer> {
    const found = await this.#lookInRedis(key);
    if (found) return { entry: found.entry, source: "redis" };
    return this.#load(key, load);
  }

  /** What Redis has, unless it is older than what this node has heard of. It is in memory from then on. */
  async #lookInRedis(key: string): Promise<Keepable | undefined> {
    const readAt = performance.now();
    const found = this.#redis && (await inTime(this.#redis.get(key), PATIENCE_MS));
    if (!found || !this.#memory.accepts(key, found.entry.version, readAt)) return undefined;
    this.#memory.fill(key, found, readAt);
    return found;
  }

  async #load(key: string, load: Load): Promise<Answer> {
    const readAt = performance.now();
    const epoch = this.#redis?.epochOf(key);
    const entry = await load().then(entryOf, (error: unknown) => {
      const absence = absenceOf(error);
      if (!absence) throw error;
      return absence;
    });
    // Undefined stands for nothing, and is no JSON.
    const isAnswer = "absence" in entry || entry.value !== undefined;
    if (isAnswer && performance.now() - readAt < MAX_READ_MS && !this.#isKept(key, entry, load)) {
      const keepable = this.#keepable(entry, false);
      const isKeptHere = this.#memory.fill(key, keepable, readAt);
      if (isKeptHere && !load.isRemote && this.#redis && epoch !== undefined)
        void this.#fillRedis(this.#redis, key, keepable, epoch);
    }
    return { entry, source: "database" };
  }

  /** Whether an entry is where it is to be kept already, as most are that are read anew. */
  #isKept(key: string, entry: CacheEntry, { isRemote }: Load): boolean {
    const known = this.#memory.get(key);
    if (!known || !isDeepStrictEqual(known, entry)) return false;
    return !this.#redis || isRemote === true || this.#inRedis.get(known) === this.#redis.serverId;
  }

  async #fillRedis(redis: RedisLevel, key: string, keepable: Keepable, epoch: string): Promise<void> {
    const { serverId } = redis;
    const answer = await redis.fill(key, keepable, epoch);
    if (answer === STORED) this.#inRedis.set(keepable.entry, serverId);
    else if (answer !== undefined) this.#memory.raise(key, answer);
  }

  #keepable(entry: CacheEntry, isChange: boolean): Keepable {
    const absenceLifeMs = isChange ? TOMBSTONE_LIFE_MS : ABSENCE_LIFE_MS;
    // Spread, so that what was read together does not expire together.
    const lifeMs = "absence" in entry ? absenceLifeMs : this.#lifeMs * (0.9 + 0.1 * Math.random());
    return { entry, text: encode(entry), lifeMs };
  }

  /** No other node has anything to forget, so none is told, and nobody waits for Redis. */
  #add(key: string, keepable: Keepable): void {
    this.#memory.write(key, keepable);
    if (this.#redis) void this.#fillRedis(this.#redis, key, keepable, "");
  }

  /** Redis is told, and nobody waits for it: who has heard of the change takes nothing older from there. */
  #write(key: string, keepable: Keepable): void {
    this.#memory.write(key, keepable);
    this.#flights.delete(key);
    this.#peers.tell({ key, version: toldVersionOf(keepable) });
    if (this.#redis) void this.#writeRedis(this.#redis, key, keepable);
  }

  async #writeRedis(redis: RedisLevel, key: string, keepable: Keepable): Promise<void> {
    if (await redis.write(key, keepable)) return;
    redis.leaveUnsettled(key, keepable.entry.version);
    this.#peers.tell({ key, version: toldVersionOf(keepable), isUnsettled: true });
  }

  async #raise(key: string, version: number): Promise<void> {
    // Most often it has been heard of from the node of the change.
    if (this.#memory.accepts(key, version - 1, performance.now())) {
      this.#memory.raise(key, version);
      this.#flights.delete(key);
      this.#peers.tell({ key, version });
    }
    await this.#redis?.raise(key, version);
  }

  async #drop(key: string): Promise<void> {
    this.#memory.drop(key);
    this.#flights.delete(key);
    this.#peers.tell({ key });
    if (this.#redis) await inTime(this.#dropFromRedis(this.#redis, key), PATIENCE_MS);
  }

  async #dropFromRedis(redis: RedisLevel, key: string): Promise<void> {
    const isDropped = await redis.drop(key);
    // Again, as they may have taken it from there meanwhile.
    this.#peers.tell(isDropped ? { key } : { namespace: namespaceOf(key), isUnsettled: true });
  }

  async #purge(namespace: string): Promise<void> {
    this.#forget(namespace);
    this.#peers.tell({ namespace });
    if (!this.#redis) return;
    const isPurged = await this.#redis.purge(namespace);
    // Again, as they may have taken something from there meanwhile.
    this.#peers.tell({ namespace, isUnsettled: !isPurged });
  }

  #forget(namespace: string): void {
    const isOfIt = (key: string): boolean => namespaceOf(key) === namespace;
    this.#memory.clear(isOfIt);
    for (const key of this.#flights.keys()) if (isOfIt(key)) this.#flights.delete(key);
  }

  #hear({ namespace, key, version, isUnsettled }: Invalidation): void {
    if (namespace !== undefined) {
      this.#forget(namespace);
      if (isUnsettled) this.#redis?.leaveInvalid(namespace);
    }
    if (key === undefined) return;
    this.#flights.delete(key);
    if (version === undefined) this.#memory.drop(key);
    else this.#memory.raise(key, version);
    if (isUnsettled && version !== undefined) this.#redis?.leaveUnsettled(key, version);
  }
}
