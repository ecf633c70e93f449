import { describe, expect, test } from "@jest/globals";

import { isCanonicalId, newId } from "../../../lib/ids.ts";

describe("a new id", () => {
  test("is a UUID of version 7 with the present time", () => {
    const before = Date.now();
    const id = newId();
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const time = Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16);
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(Date.now());
  });

  test("comes after all that were made before it, also within one millisecond", () => {
    const ids = Array.from({ length: 10_000 }, newId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(ids);
  });

  test("is canonical, and in capitals it is not", () => {
    const id = `${newId().slice(0, -1)}a`;
    expect(isCanonicalId(id)).toBe(true);
    expect(isCanonicalId(id.toUpperCase())).toBe(false);
  });
});

test.each([undefined, null, 1, {}, ["a"]])("%p is no canonical id", (value) => {
  expect(isCanonicalId(value)).toBe(false);
});
