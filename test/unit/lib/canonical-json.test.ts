import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { canonicalJson, fingerprint } from "../../../lib/canonical-json.ts";

/** The same value with the members of every object in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).toReversed();
  return Object.fromEntries(members.map(([key, member]) => [key, reversed(member)]));
}

describe("canonical JSON", () => {
  test.each<[unknown, string]>([
    [{ b: 1, a: { d: [2, { f: 3, e: 4 }], c: null } }, '{"a":{"c":null,"d":[2,{"e":4,"f":3}]},"b":1}'],
    [{ a: undefined, b: 1 }, '{"b":1}'],
    [[undefined, null], "[null,null]"],
    [undefined, "null"],
    [new Date("2030-01-01T00:00:00Z"), '"2030-01-01T00:00:00.000Z"'],
    [{ at: new Date(0) }, '{"at":"1970-01-01T00:00:00.000Z"}'],
    ['"\\\u0000\ud800', '"\\"\\\\\\u0000\\ud800"'],
    [Number.NaN, "null"],
    [-0, "0"],
    [{}, "{}"],
    [[], "[]"],
  ])("of %p is %s", (value, text) => {
    expect(canonicalJson(value)).toBe(text);
  });

  test("is JSON of the same value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("does not depend on the order of members", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(canonicalJson(reversed(value))).toBe(canonicalJson(value));
      }),
    );
  });

  test("differs for different values, however alike their texts are", () => {
    const values = [
      { a: 1 },
      { a: "1" },
      { a: [1] },
      { a: { 0: 1 } },
      { a: null },
      {},
      [{ a: 1 }],
      '{"a":1}',
      { "a:1": 1 },
    ];
    expect(new Set(values.map(canonicalJson)).size).toBe(values.length);
  });
});

describe("a fingerprint", () => {
  test("has 43 characters that need no escape", () => {
    expect(fingerprint({ a: 1 })).toMatch(/^[A-Za-z0-9_-]{43}$/);
  });

  test("is the same exactly for what has the same canonical JSON", () => {
    const value = fc.jsonValue({ maxDepth: 2 });
    fc.assert(
      fc.property(value, value, (one, other) => {
        expect(fingerprint(one) === fingerprint(other)).toBe(canonicalJson(one) === canonicalJson(other));
        expect(fingerprint(reversed(one))).toBe(fingerprint(one));
      }),
    );
  });
});
