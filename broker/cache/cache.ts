import type { NatsConnection } from "nats";
import type { CacheEntry } from "./entry.ts";
import type { CacheStatistics } from "./statistics.ts";

/** Where an answer came from: `database` stands for whatever is behind the cache. */
export type Source = "memory" | "redis" | "database";

export interface Answer {
  readonly entry: CacheEntry;
  readonly source: Source;
  /** It was fetched for another call, which this one has waited with. */
  readonly isCollapsed?: boolean;
}

/** What a change of a row means to one cached call. */
export interface CacheChange {
  readonly key: string;
  /** What the call answers from now on; without it, only that is known, that what is kept may be out of date. */
  readonly entry?: CacheEntry | undefined;
  /** Without an entry: what is at least of this version may stay. */
  readonly version?: number;
  /** Nobody can have asked before: there was nothing, under a key that nobody could know. */
  readonly isNew?: boolean;
}

export interface LevelSize {
  readonly level: "memory" | "redis";
  /** `*` for all together, where they cannot be told apart. */
  readonly namespace: string;
  readonly entries: number;
  readonly bytes: number;
}

/** Gets an answer from behind the cache. */
export interface Load {
  (): Promise<unknown>;
  /** From another node, which has put it into Redis. */
  isRemote?: boolean;
}

/** The port of the caches that a node may have. */
export interface Cache {
  readonly statistics: CacheStatistics;

  /** What is in memory; undefined when there is nothing, or it may be out of date. */
  peek(key: string): CacheEntry | undefined;

  /** What is kept. */
  get(key: string): Promise<CacheEntry | undefined>;

  /** What is kept, or else what `load` gives; calls of one key at a time share one `load`. @throws as `load` does */
  read(key: string, load: Load): Promise<Answer>;

  /** What `load` gives, which is kept then. @throws as `load` does */
  refresh(key: string, load: Load): Promise<Answer>;

  /** Keeps what changes have made, on every node. Settles when no read on this node gives anything older. */
  change(changes: readonly CacheChange[]): Promise<void>;

  /** Keeps a value under a key of its own. */
  put(key: string, entry: CacheEntry, lifeMs?: number): Promise<void>;

  /** Makes everything in these namespaces invalid, on every node. */
  purge(namespaces: readonly string[]): Promise<void>;

  /** The entries of a namespace in memory, those read last first. */
  recent(namespace: string): Iterable<CacheEntry>;

  sizes(): Promise<LevelSize[]>;

  /** Joins the caches of the other nodes. @param nats of the broker, if it has one */
  start(nats: NatsConnection | null): void;
  stop(): void;
}
