import type { Redis } from "ioredis";
import type { InTime, RedisLink } from "../../lib/redis-link.ts";
import { namespaceOf } from "./cache-key.ts";
import { decode, toldVersionOf, type Keepable } from "./entry.ts";
import { encodeMessage, REDIS_CHANNEL, type Invalidation } from "./messages.ts";
import { STORE } from "./redis-scripts.ts";
import type { CacheStatistics } from "./statistics.ts";

const ENTRY_PREFIX = "rollcall:cache:";
const EPOCH_PREFIX = "rollcall:cache-epoch:";

/** How long it is remembered that there is no older version: longer than any read takes. */
const FLOOR_LIFE_MS = 60_000;

/** Changes that are kept for when Redis is back; beyond it, whole namespaces are made invalid then. */
const MAX_UNSETTLED = 10_000;
/** Few enough that also a busy Redis takes them in the time that one command may take. */
const SETTLE_BATCH = 50;

/** What the script answers instead of the version that stays. */
export const STORED = -1;
const NO_MEMORY = -2;
const EPOCH_CHANGED = -3;

interface Scripts {
  cacheStore(epochKey: string, entryKey: string, ...args: (string | number)[]): Promise<number>;
}

/**
 * The level that all nodes share. No method rejects, and none waits for Redis longer than the link does. A change that
 * could not be told to Redis is unsettled: it is told before Redis is used again, since Redis may still have what was
 * before the change.
 */
export class RedisLevel {
  readonly #link: RedisLink;
  readonly #nodeId: string;
  readonly #statistics: CacheStatistics;
  readonly #unsettled = new Map<string, number>();
  readonly #invalidNamespaces = new Set<string>();
  /** By namespace, as Redis has said last. */
  readonly #epochs = new Map<string, string>();

  constructor(link: RedisLink, nodeId: string, statistics: CacheStatistics) {
    this.#link = link;
    this.#nodeId = nodeId;
    this.#statistics = statistics;
    link.client.defineCommand("cacheStore", { numberOfKeys: 2, lua: STORE });
    link.beforeUse((inTime) => {
      // It may be another server, or have lost them.
      this.#epochs.clear();
      return this.#settle(inTime);
    });
  }

  /** Of the process that is connected; empty when none is. */
  get serverId(): string {
    return this.#link.serverId;
  }

  /**
   * The epoch of a key's namespace; undefined when it is not known. What is read from now on may be kept under this one:
   * with the next, what was read before is invalid.
   */
  epochOf(key: string): string | undefined {
    return this.#epochs.get(namespaceOf(key));
  }

  /** What Redis has under a key; undefined also when it does not answer, or would too late. */
  async get(key: string): Promise<Keepable | undefined> {
    // Only while it is being told: the entry may be what was before the change.
    if (this.#unsettled.has(key) || !this.#link.isUsable || this.#link.isLate) return undefined;
    const statistics = this.#statistics.of("redis", namespaceOf(key));
    const startedAt = performance.now();
    const { serverId } = this.#link;
    const answer = await this.#link.attempt((client) => client.mget(epochKey(key), ENTRY_PREFIX + key));
    statistics.observe(startedAt);
    if (!answer) {
      statistics.errors += 1;
      return undefined;
    }
    const [epoch, text] = [answer[0] ?? "0", answer[1]];
    this.#epochs.set(namespaceOf(key), epoch);
    const { found, isGarbage } = parse(text, `${serverId}.${epoch}`);
    if (isGarbage) statistics.errors += 1;
    if (found) statistics.hits += 1;
    else statistics.misses += 1;
    return found;
  }

  /**
   * Keeps what was read, unless Redis has something newer.
   *
   * @param epoch at which it was read; empty: any
   * @returns {@link STORED}, the version of what is newer, or undefined when it is not kept for another reason
   */
  async fill(key: string, keepable: Keepable, epoch: string): Promise<number | undefined> {
    const answer = await this.#attempt(key, (client) => this.#store(client, key, keepable, { epoch }));
    if (answer === EPOCH_CHANGED) this.#epochs.delete(namespaceOf(key));
    return answer === undefined || answer < STORED ? undefined : answer;
  }

  /**
   * Keeps what a change has made, unless Redis has something newer, and tells the other nodes.
   *
   * @returns whether Redis knows of the change; else it is to be left unsettled
   */
  async write(key: string, keepable: Keepable): Promise<boolean> {
    const message = encodeMessage({ node: this.#nodeId, key, version: toldVersionOf(keepable) });
    const stored = await this.#attempt(key, (client) => this.#store(client, key, keepable, { message }));
    return stored !== undefined;
  }

  /** Drops what is older than a version, and tells the other nodes if there was anything. */
  async raise(key: string, version: number): Promise<void> {
    const raised = await this.#attempt(key, (client) => this.#raise(client, key, version));
    if (raised === undefined) this.leaveUnsettled(key, version);
  }

  /** Drops an entry whatever its version, and tells the other nodes. */
  async drop(key: string): Promise<void> {
    const message = encodeMessage({ node: this.#nodeId, key });
    const dropped = await this.#link.attempt(async (client) => {
      await client
        .multi()
        .unlink(ENTRY_PREFIX + key)
        .publish(REDIS_CHANNEL, message)
        .exec();
      return true;
    });
    // Rare, so it may cost more: there is no version by which it could be told later.
    if (!dropped) this.#invalidNamespaces.add(namespaceOf(key));
  }

  /** Makes everything in a namespace invalid, and tells the other nodes. */
  async purge(namespace: string): Promise<void> {
    const purged = await this.#link.attempt((client) => this.#purge(client, namespace));
    if (!purged) this.#invalidNamespaces.add(namespace);
  }

  /** All keys of the database of Redis and what they take; undefined when Redis does not answer. */
  async size(): Promise<{ entries: number; bytes: number } | undefined> {
    return this.#link.attempt(async (client) => {
      const [entries, info] = await Promise.all([client.dbsize(), client.info("memory")]);
      return { entries, bytes: Number(/^used_memory:(\d+)/m.exec(info)?.[1] ?? 0) };
    });
  }

  /** Remembers a change that Redis may not know of, also one of another node, until Redis was told. */
  leaveUnsettled(key: string, version: number): void {
    // There is nothing by which Redis could be told of it later.
    if (version === 0) {
      this.#invalidNamespaces.add(namespaceOf(key));
      return;
    }
    this.#unsettled.set(key, Math.max(version, this.#unsettled.get(key) ?? 0));
    if (this.#unsettled.size <= MAX_UNSETTLED) return;
    for (const unsettled of this.#unsettled.keys()) this.#invalidNamespaces.add(namespaceOf(unsettled));
    this.#unsettled.clear();
  }

  /** Tells Redis what it may not know, if it can be reached. */
  async settle(): Promise<void> {
    if (this.#unsettled.size === 0 && this.#invalidNamespaces.size === 0) return;
    await this.#link.attempt(() => this.#settle((answer) => answer));
  }

  /** @throws when Redis does not take it; what was told by then is not told again */
  async #settle(inTime: InTime): Promise<void> {
    const { client } = this.#link;
    for (const namespace of this.#invalidNamespaces) {
      await inTime(this.#purge(client, namespace));
      this.#invalidNamespaces.delete(namespace);
    }
    // A Map visits what is added to it while it is walked; changes go on meanwhile.
    while (this.#unsettled.size > 0) {
      const batch = [...this.#unsettled].slice(0, SETTLE_BATCH);
      const tell = async ([key, version]: [string, number]): Promise<void> => {
        await this.#raise(client, key, version);
        if (this.#unsettled.get(key) === version) this.#unsettled.delete(key);
      };
      await inTime(Promise.all(batch.map(tell)));
    }
  }

  #raise(client: Redis, key: string, version: number): Promise<number> {
    // Without content: all that Redis learns is that there is no older version.
    const floor = { entry: { version, value: undefined }, text: "", lifeMs: FLOOR_LIFE_MS };
    return this.#store(client, key, floor, {
      message: encodeMessage({ node: this.#nodeId, key, version }),
    });
  }

  async #purge(client: Redis, namespace: string): Promise<true> {
    const message: Invalidation = { node: this.#nodeId, namespace };
    await client
      .multi()
      .incr(EPOCH_PREFIX + namespace)
      .publish(REDIS_CHANNEL, encodeMessage(message))
      .exec();
    return true;
  }

  #store(
    client: Redis,
    key: string,
    { entry, text, lifeMs }: Keepable,
    { epoch = "", message = "" },
  ): Promise<number> {
    return (client as Redis & Scripts).cacheStore(
      epochKey(key),
      ENTRY_PREFIX + key,
      this.#link.serverId,
      entry.version,
      `${Math.round(Date.now() + lifeMs)} ${text}`,
      Math.max(1, Math.round(lifeMs)),
      epoch,
      REDIS_CHANNEL,
      message,
    );
  }

  async #attempt(key: string, store: (client: Redis) => Promise<number>): Promise<number | undefined> {
    if (!this.#link.isUsable) return undefined;
    const statistics = this.#statistics.of("redis", namespaceOf(key));
    const startedAt = performance.now();
    const answer = await this.#link.attempt(store);
    statistics.observe(startedAt);
    if (answer === undefined || answer === NO_MEMORY) statistics.errors += 1;
    return answer;
  }
}

function epochKey(key: string): string {
  return EPOCH_PREFIX + namespaceOf(key);
}

/** Whatever is there: nobody but us should write there, but somebody can. */
function parse(
  text: string | null | undefined,
  sealed: string,
): { found?: Keepable | undefined; isGarbage: boolean } {
  if (text === null || text === undefined) return { isGarbage: false };
  const [, version, seal, expiresAt, content] = /^(\d{1,15}) (\S+) (\d{1,15}) (.*)$/s.exec(text) ?? [];
  if (content === undefined) return { isGarbage: true };
  const lifeMs = Number(expiresAt) - Date.now();
  // Of an older epoch, or a floor.
  if (seal !== sealed || content === "" || lifeMs <= 0) return { isGarbage: false };
  const entry = decode(Number(version), content);
  return { found: entry && { entry, text: content, lifeMs }, isGarbage: entry === undefined };
}
