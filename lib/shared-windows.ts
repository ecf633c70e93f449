import type { Redis } from "ioredis";
import type { RedisLink } from "./redis-link.ts";
import type { Quota, SlidingWindow } from "./sliding-window.ts";

/**
 * Does for many keys what `sliding-window.ts` does for one, by the clock of Redis. A refused request changes nothing.
 * Gives four numbers a key: whether it is allowed (1 or 0), both counts, and how old the current window is in ms.
 */
const TAKE = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {}
for i, key in ipairs(KEYS) do
  local limit, length, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local state = redis.call("HMGET", key, "startedAt", "current", "previous")
  local startedAt = tonumber(state[1]) or now
  local current, previous = tonumber(state[2]) or 0, tonumber(state[3]) or 0
  local elapsed = math.max(0, now - startedAt)
  if elapsed >= 2 * length then
    startedAt, current, previous, elapsed = now, 0, 0, 0
  elseif elapsed >= length then
    startedAt, current, previous, elapsed = startedAt + length, 0, current, elapsed - length
  end
  local isAllowed = current + previous * (1 - elapsed / length) + cost <= limit
  if isAllowed then
    current = math.max(0, current + cost)
    redis.call("HSET", key, "startedAt", startedAt, "current", current, "previous", previous)
    redis.call("PEXPIRE", key, 2 * length - elapsed)
  end
  table.insert(answers, isAllowed and 1 or 0)
  table.insert(answers, current)
  table.insert(answers, previous)
  table.insert(answers, elapsed)
end
return answers
`;

const NUMBERS_PER_KEY = 4;

interface Waiting {
  readonly key: string;
  readonly quota: Quota;
  readonly cost: number;
  readonly settle: (taken: Taken | undefined) => void;
}

/** What Redis has made of a request; times are of this process's monotonic clock. */
export interface Taken {
  readonly isAllowed: boolean;
  readonly window: SlidingWindow;
}

/** Sliding windows that all processes share through Redis. */
export class SharedWindows {
  readonly #link: RedisLink;
  #waiting: Waiting[] = [];

  constructor(link: RedisLink) {
    this.#link = link;
    link.client.defineCommand("takeFromWindows", { lua: TAKE });
  }

  /** Counts a request, if it is allowed. Undefined without Redis, at once or after the time-out of its connection. */
  async take(key: string, quota: Quota, cost: number): Promise<Taken | undefined> {
    if (!this.#link.isUsable) return undefined;
    return new Promise((settle) => {
      this.#waiting.push({ key, quota, cost, settle });
      // What other sockets bring in this turn of the event loop goes along: one command for all of it, which makes a
      // busy gateway's share of a request a tenth of that of a command.
      if (this.#waiting.length === 1) setImmediate(() => void this.#send());
    });
  }

  async #send(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    const keys = waiting.map(({ key }) => key);
    const quotas = waiting.flatMap(({ quota: { limit, windowSeconds }, cost }) => [
      limit,
      windowSeconds * 1000,
      cost,
    ]);
    const answers = await this.#link.attempt((client) =>
      (client as WithCommand).takeFromWindows(keys.length, ...keys, ...quotas),
    );
    const now = performance.now();
    for (const [index, { settle }] of waiting.entries()) {
      settle(answers && takenFrom(answers.slice(index * NUMBERS_PER_KEY), now));
    }
  }
}

type WithCommand = Redis & {
  takeFromWindows(numberOfKeys: number, ...words: (string | number)[]): Promise<number[]>;
};

function takenFrom([isAllowed, current = 0, previous = 0, elapsedMs = 0]: number[], now: number): Taken {
  return { isAllowed: isAllowed === 1, window: { startedAt: now - elapsedMs, current, previous } };
}
