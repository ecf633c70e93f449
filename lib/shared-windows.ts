import type { Redis } from "ioredis";
import type { RedisLink } from "./redis-link.ts";
import type { Quota, SlidingWindow } from "./sliding-window.ts";

/**
 * Does for many keys what `sliding-window.ts` does for one, by the clock of Redis. A refused request changes nothing. A
 * key that is there more than once, with other costs, is read and written once. ARGV: for each key its limit, the length
 * of its window in ms, the cost of a request, and how many requests there are.
 * Gives four numbers a key: how many are allowed, both counts, and how old the current window is in ms.
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
  local limit, length = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
  local cost, count = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local window = windows[key] or read(key)
  windows[key] = window
  local elapsed = math.max(0, now - window.startedAt)
  if elapsed >= 2 * length then
    window.startedAt, window.current, window.previous, elapsed = now, 0, 0, 0
  elseif elapsed >= length then
    window.startedAt, window.current, window.previous = window.startedAt + length, 0, window.current
    elapsed = elapsed - length
  end
  local allowed, fromPrevious = 0, window.previous * (1 - elapsed / length)
  while allowed < count and window.current + fromPrevious + cost <= limit do
    window.current = math.max(0, window.current + cost)
    allowed = allowed + 1
  end
  if allowed > 0 then
    window.lifeMs = 2 * length - elapsed
  end
  table.insert(answers, allowed)
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

/** Requests of one turn of the event loop that are alike. */
interface Batch {
  readonly key: string;
  readonly quota: Quota;
  readonly cost: number;
  /** Of each request, in the order in which they came. */
  readonly settles: ((taken: Taken | undefined) => void)[];
}

/** What Redis has made of a request; times are of this process's monotonic clock. */
export interface Taken {
  readonly isAllowed: boolean;
  readonly window: SlidingWindow;
}

/** Sliding windows that all processes share through Redis. */
export class SharedWindows {
  readonly #link: RedisLink;
  /** By key. */
  #batches = new Map<string, Batch[]>();

  constructor(link: RedisLink) {
    this.#link = link;
    link.client.defineCommand("takeFromWindows", { lua: TAKE });
  }

  /** Counts a request, if it is allowed. Undefined without Redis, at once or after the time-out of its connection. */
  take(key: string, quota: Quota, cost: number): Promise<Taken | undefined> | undefined {
    if (!this.#link.isUsable) return undefined;
    return new Promise((settle) => {
      // What other sockets bring in this turn of the event loop goes along: one command for all of it, which makes a
      // busy gateway's share of a request a tenth of that of a command.
      if (this.#batches.size === 0) setImmediate(() => void this.#send());
      this.#batchFor(key, quota, cost).settles.push(settle);
    });
  }

  #batchFor(key: string, quota: Quota, cost: number): Batch {
    const ofKey = this.#batches.get(key) ?? [];
    const known = ofKey.find((batch) => batch.cost === cost && batch.quota === quota);
    if (known) return known;
    const batch: Batch = { key, quota, cost, settles: [] };
    this.#batches.set(key, [...ofKey, batch]);
    return batch;
  }

  async #send(): Promise<void> {
    const batches = [...this.#batches.values()].flat();
    this.#batches = new Map();
    const keys = batches.map(({ key }) => key);
    const terms = batches.flatMap(({ quota: { limit, windowSeconds }, cost, settles }) => [
      limit,
      windowSeconds * 1000,
      cost,
      settles.length,
    ]);
    const answers = await this.#link.attempt((client) =>
      (client as WithCommand).takeFromWindows(keys.length, ...keys, ...terms),
    );
    const now = performance.now();
    for (const [index, batch] of batches.entries()) {
      tellAll(batch, answers?.slice(index * NUMBERS_PER_KEY, (index + 1) * NUMBERS_PER_KEY), now);
    }
  }
}

/** Tells each request what has become of it: those that came first are allowed. */
function tellAll({ settles, cost }: Batch, answer: number[] | undefined, now: number): void {
  const [allowed = 0, current = 0, previous = 0, elapsedMs = 0] = answer ?? [];
  for (const [index, settleOne] of settles.entries()) {
    const isAllowed = index < allowed;
    const later = isAllowed ? allowed - 1 - index : 0;
    const window = { startedAt: now - elapsedMs, current: current - later * cost, previous };
    settleOne(answer && { isAllowed, window });
  }
}

type WithCommand = Redis & {
  takeFromWindows(numberOfKeys: number, ...words: (string | number)[]): Promise<number[]>;
};
