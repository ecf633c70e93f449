import type { Redis } from "ioredis";
import type { RedisLink } from "./redis-link.ts";
import type { Quota, SlidingWindow } from "./sliding-window.ts";

/**
 * Does for many keys what `sliding-window.ts` does for one, by the clock of Redis. A refused request changes nothing. A
 * key that is there more than once, as that of a client with many requests at a time, is read and written once.
 * Gives four numbers a key: whether it is allowed (1 or 0), both counts, and how old the current window is in ms.
 */
const TAKE = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function read(key)
  local state = redis.pcall("GET", key)
  local startedAt, current, previous
  if type(state) == "string" then
    startedAt, current, previous = string.match(state, "^(%d+) (%d+) (%d+)$")
  end
  return { startedAt = tonumber(startedAt) or now, current = tonumber(current) or 0, previous = tonumber(previous) or 0 }
end

local windows, answers = {}, {}
for i, key in ipairs(KEYS) do
  local limit, length, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local window = windows[key] or read(key)
  windows[key] = window
  local elapsed = math.max(0, now - window.startedAt)
  if elapsed >= 2 * length then
    window.startedAt, window.current, window.previous, elapsed = now, 0, 0, 0
  elseif elapsed >= length then
    window.startedAt, window.current, window.previous = window.startedAt + length, 0, window.current
    elapsed = elapsed - length
  end
  local isAllowed = window.current + window.previous * (1 - elapsed / length) + cost <= limit
  if isAllowed then
    window.current = math.max(0, window.current + cost)
    window.lifeMs = 2 * length - elapsed
  end
  table.insert(answers, isAllowed and 1 or 0)
  table.insert(answers, window.current)
  table.insert(answers, window.previous)
  table.insert(answers, elapsed)
end

for key, window in pairs(windows) do
  if window.lifeMs then
    local state = string.format("%d %d %d", window.startedAt, window.current, window.previous)
    redis.call("SET", key, state, "PX", window.lifeMs)
  end
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
