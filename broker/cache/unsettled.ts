import type { InTime } from "../../lib/redis-link.ts";
import { namespaceOf } from "./cache-key.ts";

/** Changes that are kept for when Redis is back; beyond it, whole namespaces are made invalid then. */
const MAX_CHANGES = 10_000;
/** Few enough that also a busy Redis takes them in the time that one command may take. */
const BATCH = 50;

/** How Redis is told; each rejects when it does not take it. */
interface Tell {
  raise(key: string, version: number): Promise<unknown>;
  purge(namespace: string): Promise<unknown>;
}

/** What Redis may not know: it may have an entry that is not to be used until it was told. */
export class Unsettled {
  /** The version that a key has at least. */
  readonly #versions = new Map<string, number>();
  /** How often a namespace was made invalid. */
  readonly #purges = new Map<string, number>();

  get isEmpty(): boolean {
    return this.#versions.size === 0 && this.#purges.size === 0;
  }

  has(key: string): boolean {
    return this.#versions.has(key) || this.#purges.has(namespaceOf(key));
  }

  /** @param version 0 when there is none by which Redis could be told later */
  add(key: string, version: number): void {
    if (version === 0) {
      this.addNamespace(namespaceOf(key));
      return;
    }
    this.#versions.set(key, Math.max(version, this.#versions.get(key) ?? 0));
    if (this.#versions.size <= MAX_CHANGES) return;
    for (const untold of this.#versions.keys()) this.addNamespace(namespaceOf(untold));
    this.#versions.clear();
  }

  addNamespace(namespace: string): void {
    this.#purges.set(namespace, (this.#purges.get(namespace) ?? 0) + 1);
  }

  /**
   * Tells it. What is added meanwhile may be left for the next time.
   *
   * @param inTime bounds the wait for one answer
   * @throws when Redis does not take it; what was told by then is not told again
   */
  async settle(tell: Tell, inTime: InTime): Promise<void> {
    for (const [namespace, times] of this.#purges) {
      await inTime(tell.purge(namespace));
      if (this.#purges.get(namespace) === times) this.#purges.delete(namespace);
    }
    // A Map visits what is added to it while it is walked; changes go on meanwhile.
    while (this.#versions.size > 0) {
      const batch = [...this.#versions].slice(0, BATCH);
      const settleOne = async ([key, version]: [string, number]): Promise<void> => {
        await tell.raise(key, version);
        if (this.#versions.get(key) === version) this.#versions.delete(key);
      };
      await inTime(Promise.all(batch.map(settleOne)));
    }
  }
}
