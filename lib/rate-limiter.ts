import { LRUCache } from "lru-cache";
import type { RedisLink } from "./redis-link.ts";
import { SharedWindows } from "./shared-windows.ts";
import { take, verdictOf, windowAt, type Quota, type SlidingWindow, type Verdict } from "./sliding-window.ts";

/** Clients that a process remembers at most: the one not seen for longest is forgotten for a new one. */
const CLIENTS_IN_MEMORY = 50_000;

/**
 * Counts the requests of clients against quotas: together with all other processes through Redis and, while there is
 * none, for this process alone. It then begins with what Redis has said last, so that the loss of Redis is no new quota
 * for a client that has used up its own.
 */
export class RateLimiter {
  readonly #shared: SharedWindows | undefined;
  readonly #memory = new LRUCache<string, SlidingWindow>({ max: CLIENTS_IN_MEMORY });

  /** @param redis undefined: each process counts for itself */
  constructor(redis: RedisLink | undefined) {
    this.#shared = redis && new SharedWindows(redis);
  }

  /** Counts a request under `key`, if it is within the quota. Never rejects. */
  take(key: string, quota: Quota): Promise<Verdict> {
    return this.#take(key, quota, 1);
  }

  /** Takes back a request that was counted and, as it turns out, should not be. */
  async giveBack(key: string, quota: Quota): Promise<void> {
    await this.#take(key, quota, -1);
  }

  async #take(key: string, quota: Quota, cost: number): Promise<Verdict> {
    const shared = await this.#shared?.take(key, quota, cost);
    const now = performance.now();
    const { isAllowed, window } =
      shared ?? take(windowAt(this.#memory.get(key), quota, now), quota, now, cost);
    this.#memory.set(key, window);
    return verdictOf(isAllowed, window, quota, now);
  }
}
