import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { cacheKey } from "../../../../broker/cache/cache-key.ts";
import { canonicalJson } from "../../../../lib/canonical-json.ts";
import { newId } from "../../../../lib/ids.ts";

describe("a cache key", () => {
  test.each([
    // Moleculer's own keys are the same for these two.
    [{ a: 'x"|b|"y' }, { a: "x", b: "y" }],
    [{ a: "1" }, { a: 1 }],
    [{ a: null }, { a: "null" }],
    [{ a: [1, 2] }, { a: ["1|2"] }],
    [{ a: [[1], 2] }, { a: [1, [2]] }],
    [{ a: { b: 1 } }, { "a.b": 1 }],
    [{ id: "a" }, { id: "A" }],
    [{ a: "\ud800" }, { a: "\ud801" }],
    [{}, { a: 1 }],
  ])("of %j is not that of %j", (one, other) => {
    expect(cacheKey("users.get", one)).not.toBe(cacheKey("users.get", other));
  });

  test("is that of its action", () => {
    expect(cacheKey("users.get", { id: "1" })).not.toBe(cacheKey("images.get", { id: "1" }));
  });

  test("is the same for equal parameters, in whatever order they are written", () => {
    expect(cacheKey("users.get", { a: 1, b: { c: 2, d: 3 } })).toBe(
      cacheKey("users.get", { b: { d: 3, c: 2 }, a: 1 }),
    );
    expect(cacheKey("users.get", { a: 1, b: undefined })).toBe(cacheKey("users.get", { a: 1 }));
  });

  test("of an id alone is the id, however the call says that there is nothing else", () => {
    const id = newId();
    expect(cacheKey("users.get", { id })).toBe(`users.get:${id}`);
    expect(cacheKey("users.get", { other: undefined, id })).toBe(`users.get:${id}`);
  });

  test.each([
    ["something else beside it", (id: string) => ({ id, a: null })],
    ["another name", (id: string) => ({ a: id })],
    ["another type", (id: string) => ({ id: [id] })],
    ["capital letters", (id: string) => ({ id: id.toUpperCase() })],
    ["a line end", (id: string) => ({ id: `${id}\n` })],
    ["no object around it", (id: string) => id],
  ])("of an id with %s is no id", (_case, paramsOf) => {
    expect(cacheKey("users.get", paramsOf(newId()))).toMatch(/^users\.get:[\w-]{43}$/);
  });

  test("differs for all parameters that differ", () => {
    const params = fc.dictionary(fc.string({ maxLength: 3 }), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 3 });
    fc.assert(
      fc.property(fc.uniqueArray(params, { selector: canonicalJson, maxLength: 50 }), (different) => {
        expect(new Set(different.map((one) => cacheKey("a", one))).size).toBe(different.length);
      }),
    );
  });

  test("of anything else is of one length and holds nothing of the parameters", () => {
    expect(cacheKey("users.get", { email: "ada@example.com" })).toMatch(/^users\.get:[A-Za-z0-9_-]{43}$/);
    expect(cacheKey("users.get", { text: "x".repeat(100_000) })).toHaveLength("users.get:".length + 43);
  });
});
