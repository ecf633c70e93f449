import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";

import { Awaited } from "../../../lib/awaited.ts";
import { capturingLogger } from "../../support/capturing-logger.ts";

const INFO = 30;
const WARN = 40;

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function start() {
  const { log, entries } = capturingLogger();
  const awaited = new Awaited(log, {
    waiting: "waiting for it",
    missing: "it is missing",
    back: "it is back",
  });
  const fail = (): void => awaited.missing(new Error("not found"));
  const lines = () => entries.map(({ level, msg }) => [level, msg]);
  return { awaited, entries, fail, lines };
}

test("what is not there yet is said once, without a warning", () => {
  const { awaited, entries, fail, lines } = start();
  fail();
  jest.advanceTimersByTime(9_999);
  fail();
  awaited.there();

  expect(lines()).toEqual([[INFO, "waiting for it"]]);
  expect(entries[0]).toMatchObject({ reason: "not found" });
});

test("what is still missing after ten seconds is one warning, and that it is there is said", () => {
  const { awaited, entries, fail, lines } = start();
  fail();
  jest.advanceTimersByTime(10_000);
  fail();
  jest.advanceTimersByTime(60_000);
  fail();
  awaited.there();

  expect(lines()).toEqual([
    [INFO, "waiting for it"],
    [WARN, "it is missing"],
    [INFO, "it is back"],
  ]);
  expect(entries[1]).toMatchObject({ err: { message: "not found" } });
});

test("what cannot be there yet is no warning, and may take its time from when it can", () => {
  const { awaited, lines } = start();
  const fail = (isDue: boolean): void => awaited.missing(new Error("not found"), isDue);
  fail(false);
  jest.advanceTimersByTime(60_000);
  fail(false);
  jest.advanceTimersByTime(9_999);
  fail(true);
  expect(lines()).toEqual([[INFO, "waiting for it"]]);

  jest.advanceTimersByTime(1);
  fail(true);
  expect(lines()).toEqual([
    [INFO, "waiting for it"],
    [WARN, "it is missing"],
  ]);
});

test("what was there and is lost is a warning at once, each time", () => {
  const { awaited, fail, lines } = start();
  awaited.there();
  for (let time = 0; time < 2; time++) {
    fail();
    fail();
    awaited.there();
  }

  const lostAndFound = [
    [WARN, "it is missing"],
    [INFO, "it is back"],
  ];
  expect(lines()).toEqual([...lostAndFound, ...lostAndFound]);
});
