import { LRUCache } from "lru-cache";
import { namespaceOf } from "./cache-key.ts";
import type { CacheEntry, Keepable } from "./entry.ts";

interface MemoryOptions {
  /** Never exceeded, not even for a moment. */
  maxEntries: number;
  /** Of the texts of all entries and keys, as {@link bytesOf} counts them. Never exceeded. */
  maxBytes: number;
  onEviction: (namespace: string) => void;
}

interface Stored {
  readonly entry: CacheEntry;
  readonly bytes: number;
  readonly expiresAt: number;
}

/** What is known of a key beside its entry, and holds when the entry has been dropped. */
interface Floor {
  /** There is no older version any more. */
  readonly version: number;
  /** Reads that began before are not to be kept. */
  readonly notBefore: number;
  readonly setAt: number;
}

const MAX_FLOORS = 20_000;

/** What an entry takes beside its text: objects, list and table. Measured: 200 to 300 bytes. */
const OVERHEAD_BYTES = 300;

/** Two bytes a character, the most that a text takes. */
function bytesOf(key: string, text: string): number {
  return 2 * (key.length + text.length) + OVERHEAD_BYTES;
}

/**
 * The cache in the memory of the process: bounded strictly, least recently used first out. An entry is refused when
 * something newer is known of its key, also when that itself is not kept any more. Times are of `performance.now()`.
 */
export class MemoryLevel {
  readonly #entries: LRUCache<string, Stored>;
  readonly #floors: LRUCache<string, Floor>;
  readonly #maxBytes: number;
  readonly #sizes = new Map<string, { entries: number; bytes: number }>();
  /** For what no floor is remembered: reads that began before are not to be kept. */
  #notBefore = -Infinity;

  constructor({ maxEntries, maxBytes, onEviction }: MemoryOptions) {
    this.#maxBytes = maxBytes;
    this.#entries = new LRUCache<string, Stored>({
      max: maxEntries,
      maxSize: maxBytes,
      dispose: (stored, key, reason) => {
        this.#count(key, -1, -stored.bytes);
        if (reason === "evict") onEviction(namespaceOf(key));
      },
    });
    this.#floors = new LRUCache<string, Floor>({
      max: MAX_FLOORS,
      dispose: (floor, _key, reason) => {
        if (reason === "evict") this.#notBefore = Math.max(this.#notBefore, floor.setAt);
      },
    });
  }

  get(key: string): CacheEntry | undefined {
    const stored = this.#entries.get(key);
    if (!stored) return undefined;
    if (stored.expiresAt > performance.now()) return stored.entry;
    this.#entries.delete(key);
    return undefined;
  }

  /**
   * Keeps what was read, unless something newer is known.
   *
   * @param readAt when the read began
   * @returns whether nothing newer is known
   */
  fill(key: string, keepable: Keepable, readAt: number): boolean {
    const { version } = keepable.entry;
    if (!this.accepts(key, version, readAt)) return false;
    const known = this.#entries.peek(key);
    if (known && known.entry.version > version) return false;
    this.#put(key, keepable);
    return true;
  }

  /** Whether a version that was read from `readAt` on may be what is current. */
  accepts(key: string, version: number, readAt: number): boolean {
    if (readAt < this.#notBefore) return false;
    const floor = this.#floors.get(key);
    return !floor || (version >= floor.version && readAt >= floor.notBefore);
  }

  /** Keeps what a change has made, unless something newer is known. */
  write(key: string, keepable: Keepable): void {
    this.raise(key, keepable.entry.version);
    this.fill(key, keepable, performance.now());
  }

  /** Drops what is older than `version`, and refuses it from now on. */
  raise(key: string, version: number): void {
    const now = performance.now();
    const { version: known = 0, notBefore = -Infinity } = this.#floors.get(key) ?? {};
    this.#floors.set(key, { version: Math.max(known, version), notBefore, setAt: now });
    const stored = this.#entries.peek(key);
    if (stored && stored.entry.version < version) this.#entries.delete(key);
  }

  /** Drops an entry, and refuses what is being read now. Versions count from anew. */
  drop(key: string): void {
    const now = performance.now();
    this.#floors.set(key, { version: 0, notBefore: now, setAt: now });
    this.#entries.delete(key);
  }

  /** Drops what `matches`, or everything, and refuses what is being read now. Versions count from anew. */
  clear(matches: (key: string) => boolean = () => true): void {
    this.#notBefore = performance.now();
    for (const map of [this.#entries, this.#floors]) {
      for (const key of [...map.keys()].filter(matches)) map.delete(key);
    }
  }

  /** The entries of a namespace, those used last first. */
  *recent(namespace: string): Generator<CacheEntry> {
    for (const [key, { entry }] of this.#entries.entries()) if (namespaceOf(key) === namespace) yield entry;
  }

  /** Entries and bytes, by namespace. */
  get sizes(): ReadonlyMap<string, { entries: number; bytes: number }> {
    return this.#sizes;
  }

  #put(key: string, { entry, text, lifeMs }: Keepable): void {
    const bytes = bytesOf(key, text);
    if (bytes > this.#maxBytes) {
      // It would not be taken, and what is there would stay.
      this.#entries.delete(key);
      return;
    }
    const stored = { entry: deepFreeze(entry), bytes, expiresAt: performance.now() + lifeMs };
    this.#entries.set(key, stored, { size: bytes });
    this.#count(key, 1, bytes);
  }

  #count(key: string, entries: number, bytes: number): void {
    const namespace = namespaceOf(key);
    const size = this.#sizes.get(namespace) ?? { entries: 0, bytes: 0 };
    this.#sizes.set(namespace, { entries: size.entries + entries, bytes: size.bytes + bytes });
  }
}

/** All who ask share one object: nobody may change it. */
function deepFreeze<T>(value: T): T {
  // Bytes cannot be frozen.
  if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value) && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
