import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { InTime, RedisLink } from "../../lib/redis-link.ts";
import { namespaceOf } from "./cache-key.ts";
import { decode, toldVersionOf, type Keepable } from "./entry.ts";
import { encodeMessage, REDIS_CHANNEL, type Invalidation } from "./messages.ts";
import { STORE } from "./redis-scripts.ts";
import type { CacheStatistics } from "./statistics.ts";
import { Unsettled } from "./unsettled.ts";

const ENTRY_PREFIX = "rollcall:cache:";
const EPOCH_PREFIX = "rollcall:cache-epoch:";

/** How long it is remembered that there is no older version: longer than any read takes. */
const FLOOR_LIFE_MS = 60_000;

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
  readonly #unsettled = new Unsettled();
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
    const namespace = namespaceOf(key);
    // Only until it is told: the entry may be what was before the change.
    if (this.#unsettled.has(key) || !this.#link.isUsable || this.#link.isLate) return undefined;
    const statistics = this.#statistics.of("redis", namespace);
    const startedAt = performance.now();
    const { serverId } = this.#link;
    const answer = await this.#read(key);
    statistics.observe(startedAt);
    if (!answer) {
      statistics.errors += 1;
      return undefined;
    }
    const [epoch, text] = answer;
    if (epoch) this.#epochs.set(namespace, epoch);
    else this.#epochs.delete(namespace);
    const { found, isGarbage } = parse(text, `${serverId}.${epoch}`);
    if (isGarbage) statistics.errors += 1;
    if (found) statistics.hits += 1;
    else statistics.misses += 1;
    // A purge before this may have failed meanwhile.
    return this.#unsettled.has(key) ? undefined : found;
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

  /** Drops an entry whatever its version, and tells the other nodes. @returns false when Redis did not take it */
  async drop(key: string): Promise<boolean> {
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
    if (!dropped) this.leaveInvalid(namespaceOf(key));
    return dropped === true;
  }

  /** Makes everything in a namespace invalid, and tells the other nodes. @returns false when Redis did not take it */
  async purge(namespace: string): Promise<boolean> {
    const purged = await this.#link.attempt((client) => this.#purge(client, namespace));
    if (!purged) this.leaveInvalid(namespace);
    return purged === true;
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
    this.#unsettled.add(key, version);
  }

  /** Remembers that everything in a namespace is invalid, until Redis was told. */
  leaveInvalid(namespace: string): void {
    this.#unsettled.addNamespace(namespace);
  }

  /** Tells Redis what it may not know, if it can be reached. */
  async settle(): Promise<void> {
    if (!this.#unsettled.isEmpty) await this.#link.attempt(() => this.#settle((answer) => answer));
  }

  #settle(inTime: InTime): Promise<void> {
    const { client } = this.#link;
    const tell = {
      raise: (key: string, version: number) => this.#raise(client, key, version),
      purge: (namespace: string) => this.#purge(client, namespace),
    };
    return this.#unsettled.settle(tell, inTime);
  }

  /** The epoch of a key, which is made if there is none, and what is under the key. */
  async #read(key: string): Promise<(string | null)[] | undefined> {
    const read = (client: Redis): Promise<(string | null)[]> =>
      client.mget(epochKey(key), ENTRY_PREFIX + key);
    const answer = await this.#link.attempt(read);
    if (answer?.[0] !== null) return answer;
    return this.#link.attempt((client) => {
      // Without memory for it there is none.
      client.set(epochKey(key), randomUUID(), "NX").catch(() => undefined);
      return read(client);
    });
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
      .unlink(EPOCH_PREFIX + namespace)
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
      randomUUID(),
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
