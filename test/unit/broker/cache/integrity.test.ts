import { isDeepStrictEqual } from "node:util";

import { afterAll, describe, expect, test } from "@jest/globals";

import { cacheKey } from "../../../../broker/cache/cache-key.ts";
import { answerOf } from "../../../../broker/cache/entry.ts";
import { TieredCache } from "../../../../broker/cache/tiered-cache.ts";
import { silentLogger } from "../../../support/silent-logger.ts";

const PAIRS = 100_000;

const cache = new TieredCache({
  nodeId: "a",
  ttlSeconds: 600,
  maxEntries: 4 * PAIRS,
  maxBytes: 1 << 30,
  log: silentLogger,
});

afterAll(() => cache.stop());

/** What keys that are put together from texts trip over. */
const SCALARS = [
  "",
  '"',
  "|",
  "*",
  "**",
  ":",
  "1",
  "null",
  "true",
  "[]",
  "{}",
  'x"|b|"y',
  "\\",
  "\n",
  "é",
  "e\u0301",
]
  .concat("A", "a", "0199f0a0-0000-7000-8000-000000000001", "0199F0A0-0000-7000-8000-000000000001")
  .flatMap((text): unknown[] => [text, [text], { b: text }])
  .concat([1, 0, -1, 1.5, true, false, null, [], {}, [1, [2]], [[1], 2], { b: { c: 1 } }, { "b.c": 1 }]);
const NAMES = ["id", "a", "b", "a|b", '"', "a.b"];

/** The same numbers in every run (Park and Miller). */
let seed = 1;
function random(below: number): number {
  seed = (seed * 48_271) % 2_147_483_647;
  return seed % below;
}

function randomCall(): object {
  const names = Array.from({ length: random(4) }, () => NAMES[random(NAMES.length)] as string);
  return Object.fromEntries(names.map((name) => [name, SCALARS[random(SCALARS.length)]]));
}

describe("of 100,000 random pairs of calls", () => {
  const pairs = Array.from({ length: PAIRS }, (): [object, object] => [randomCall(), randomCall()]);

  test("none have the same key unless they are the same call", () => {
    const isWrong = ([one, other]: [object, object]): boolean =>
      (cacheKey("a.get", one) === cacheKey("a.get", other)) !== isDeepStrictEqual(one, other);
    expect(pairs.filter(isWrong)).toEqual([]);
  });

  test("none gets the answer of another, whichever was first", async () => {
    // Each call is answered with its own parameters, so an answer says whose it is.
    const ask = async (call: object): Promise<unknown> =>
      answerOf((await cache.read(cacheKey("a.get", call), async () => ({ call }))).entry);
    const wrong: unknown[] = [];
    for (let round = 0; round < 2; round += 1) {
      for (const call of pairs.flat()) {
        const cached = cache.peek(cacheKey("a.get", call));
        const answer = cached ? answerOf(cached) : await ask(call);
        if (!isDeepStrictEqual(answer, { call })) wrong.push({ call, answer });
      }
    }
    expect(wrong).toEqual([]);
    const { hits } = cache.statistics.of("memory", "a.get");
    expect(hits).toBeGreaterThanOrEqual(2 * PAIRS);
  });
});
