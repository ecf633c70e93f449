import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import {
  take,
  verdictOf,
  windowAt,
  type Quota,
  type SlidingWindow,
  type Verdict,
} from "../../../lib/sliding-window.ts";

/** A client that is counted against one quota. */
class Client {
  readonly #quota: Quota;
  #window: SlidingWindow | undefined;

  constructor(quota: Quota) {
    this.#quota = quota;
  }

  request(now: number, cost = 1): Verdict {
    const { isAllowed, window } = take(windowAt(this.#window, this.#quota, now), this.#quota, now, cost);
    this.#window = window;
    return verdictOf(isAllowed, window, this.#quota, now);
  }

  /** How many of this many requests at once are allowed. */
  allowedOf(count: number, now: number): number {
    return Array.from({ length: count }, () => this.request(now)).filter(({ isAllowed }) => isAllowed).length;
  }
}

const QUOTA: Quota = { limit: 100, windowSeconds: 60 };

const quotas = fc.record({
  limit: fc.integer({ min: 1, max: 50 }),
  windowSeconds: fc.integer({ min: 1, max: 100 }),
});
/** Requests as the milliseconds between them. */
const gaps = fc.array(fc.nat({ max: 20_000 }), { maxLength: 300 });

describe("a client that was idle", () => {
  test("has exactly its limit at once", () => {
    expect(new Client(QUOTA).allowedOf(1000, 5)).toBe(100);
  });

  test("has it again after two windows", () => {
    const client = new Client(QUOTA);
    client.allowedOf(1000, 0);
    expect(client.allowedOf(1000, 120_000)).toBe(100);
  });
});

describe("a client that has used up its limit", () => {
  test("has nothing more until its window ends, and nothing yet at that moment", () => {
    const client = new Client(QUOTA);
    client.allowedOf(100, 0);
    expect(client.allowedOf(10, 59_999)).toBe(0);
    expect(client.allowedOf(10, 60_000)).toBe(0);
  });

  test("gets it back evenly over the next window", () => {
    const client = new Client(QUOTA);
    client.allowedOf(100, 0);
    expect(client.allowedOf(100, 90_000)).toBe(50);
    expect(client.allowedOf(100, 105_000)).toBe(25);
  });

  test("is allowed one request after exactly as long as it was told to wait, however it came to this", () => {
    fc.assert(
      fc.property(quotas, gaps, (quota, steps) => {
        const client = new Client(quota);
        let now = 0;
        for (const step of steps) {
          now += step;
          const verdict = client.request(now);
          if (verdict.isAllowed) continue;
          now += verdict.resetSeconds * 1000;
          expect(client.request(now).isAllowed).toBe(true);
        }
      }),
    );
  });

  test("is told to wait no longer than it must, but for the rest of a second", () => {
    fc.assert(
      fc.property(quotas, gaps, (quota, steps) => {
        const client = new Client(quota);
        let now = 0;
        for (const step of steps) {
          now += step;
          const { isAllowed, resetSeconds } = client.request(now);
          if (isAllowed || resetSeconds === 1) continue;
          now += (resetSeconds - 1) * 1000 - 2;
          expect(client.request(now).isAllowed).toBe(false);
        }
      }),
    );
  });
});

describe("any client", () => {
  test("never makes more requests than its limit within the window that begins with the first one", () => {
    fc.assert(
      fc.property(quotas, gaps, (quota, steps) => {
        const client = new Client(quota);
        let now = 0;
        const allowedAt = steps
          .map((step) => ((now += step), now))
          .filter((at) => client.request(at).isAllowed);
        const [first = 0] = allowedAt;
        const within = allowedAt.filter((at) => at < first + quota.windowSeconds * 1000);
        expect(within.length).toBeLessThanOrEqual(quota.limit);
      }),
    );
  });

  test("is told of what remains, which it can then use at once", () => {
    fc.assert(
      fc.property(quotas, gaps, (quota, steps) => {
        const client = new Client(quota);
        let now = 0;
        let remaining = quota.limit;
        for (const step of steps) {
          now += step;
          ({ remaining } = client.request(now));
        }
        expect(client.allowedOf(quota.limit + 1, now)).toBe(remaining);
      }),
    );
  });

  test("is told of the end of its window in whole seconds, never 0", () => {
    const client = new Client(QUOTA);
    expect(client.request(0).resetSeconds).toBe(60);
    expect(client.request(30_500).resetSeconds).toBe(30);
    expect(client.request(59_999).resetSeconds).toBe(1);
  });
});

describe("what is given back", () => {
  test("can be used again", () => {
    const client = new Client(QUOTA);
    client.allowedOf(100, 0);
    client.request(1, -1);
    expect(client.allowedOf(5, 2)).toBe(1);
  });

  test("is never more than was used", () => {
    const client = new Client(QUOTA);
    client.request(0, -1);
    expect(client.allowedOf(200, 1)).toBe(100);
  });
});
