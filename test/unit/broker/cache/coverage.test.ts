import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";

import { Coverage, LEASE_MS, type Span } from "../../../../broker/cache/coverage.ts";

let gaps: number;
let coverage: Coverage;

beforeEach(() => {
  gaps = 0;
  coverage = new Coverage(() => (gaps += 1));
});

afterEach(() => {
  jest.useRealTimers();
});

/** A channel, with times in milliseconds before now. */
function channel(from: number, until: number): Span {
  const span: Span = { from: 0, until: 0 };
  coverage.add(span);
  move(span, from, until);
  return span;
}

function move(span: Span, from: number, until: number): void {
  const now = performance.now();
  span.from = now - from;
  span.until = now - until;
}

const LONG_AGO = LEASE_MS + 1000;

describe("the memory of a node", () => {
  test("may be used without channels: there is no other node", () => {
    expect(coverage.isCurrent).toBe(true);
  });

  test("may not be used before a channel has answered", () => {
    channel(-Infinity, Infinity);
    coverage.update();
    expect(coverage.isCurrent).toBe(false);
  });

  test("may be used while a channel answers, and for no longer than the lease after that", () => {
    const span = channel(50, 50);
    coverage.update();
    expect(coverage.isCurrent).toBe(true);
    move(span, LONG_AGO + 50, LONG_AGO);
    // What was covered does not become less.
    coverage.update();
    expect(coverage.isCurrent).toBe(true);
  });

  test("may not be used when its only channel has been silent for the lease", () => {
    channel(LONG_AGO + 50, LONG_AGO);
    coverage.update();
    expect(coverage.isCurrent).toBe(false);
  });

  test("is kept when another channel was there all the time", () => {
    const [one, other] = [channel(1000, 600), channel(900, 500)];
    coverage.update();
    const before = gaps;
    one.from = Infinity;
    move(other, 900, 0);
    coverage.update();
    expect([coverage.isCurrent, gaps - before]).toEqual([true, 0]);
  });

  test("is dropped when there is a time that no channel has covered", () => {
    const span = channel(LONG_AGO + 2000, LONG_AGO + 100);
    coverage.update();
    // The connection was lost and made again: what was said in between is not known.
    move(span, 100, 0);
    coverage.update();
    expect([coverage.isCurrent, gaps]).toEqual([true, 1]);
  });

  test("is kept when a silent channel answers again that was not interrupted", () => {
    jest.useFakeTimers();
    const span = channel(50, 50);
    coverage.update();
    const before = gaps;
    jest.advanceTimersByTime(LONG_AGO);
    const wasCurrent = coverage.isCurrent;
    span.until = performance.now();
    coverage.update();
    expect([wasCurrent, coverage.isCurrent, gaps - before]).toEqual([false, true, 0]);
  });
});
