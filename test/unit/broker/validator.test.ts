import { describe, expect, test } from "@jest/globals";

import { check } from "../../support/validation.ts";

const RULES = {
  $$strict: true,
  id: { type: "uuid" },
  text: { type: "string", min: 2, max: 10, optional: true },
  kind: { type: "enum", values: ["a", "b"], optional: true },
  note: { type: "string", optional: true, nullable: true },
  count: { type: "number", default: 20 },
  owner: { type: "object", strict: true, props: { name: { type: "string" } }, optional: true },
} as const;

const id = "01890a5d-ac96-774b-bcce-b302099a8057";

describe("null", () => {
  test("is refused for a field that may only be absent", () => {
    expect(check(RULES, { id, text: null, kind: null, owner: null }).errors).toMatchObject([
      { field: "text", rule: "required" },
      { field: "kind", rule: "required" },
      { field: "owner", rule: "required" },
    ]);
  });

  test("is taken for a field that is nullable", () => {
    expect(check(RULES, { id, note: null })).toEqual({ params: { id, note: null, count: 20 }, errors: [] });
  });

  test("is refused for a required field", () => {
    expect(check(RULES, { id: null }).errors).toMatchObject([{ field: "id", rule: "required" }]);
  });
});

describe("a number that may come as text", () => {
  const rules = {
    size: { type: "number", integer: true, min: -5, max: 9_007_199_254_740_991, convert: true },
  } as const;

  test.each(["0", "7", "-5", "9007199254740991"])("is taken as usually written: %j", (text) => {
    expect(check(rules, { size: text })).toEqual({ params: { size: Number(text) }, errors: [] });
  });

  test("is taken as a number, too", () => {
    expect(check(rules, { size: 7 })).toEqual({ params: { size: 7 }, errors: [] });
  });

  test.each([
    "",
    " ",
    "005",
    "-0",
    "+5",
    "5 ",
    "0x10",
    "1e1",
    "1.5",
    "9007199254740993",
    "٥",
    null,
    true,
    ["5"],
  ])("is refused when it is %j", (value) => {
    expect(check(rules, { size: value }).errors).toMatchObject([{ field: "size" }]);
  });

  test("is refused as text where numbers come as such", () => {
    expect(check(RULES, { id, count: "20" }).errors).toMatchObject([{ field: "count", rule: "number" }]);
  });
});

describe("the report", () => {
  test("names each field, the rule it broke and why, and nothing else", () => {
    expect(check(RULES, { id: "x", text: "", kind: "c" }).errors).toEqual([
      { field: "id", rule: "uuid", message: "The 'id' field must be a valid UUID." },
      { field: "text", rule: "stringMin", message: expect.stringContaining("'text'") },
      { field: "kind", rule: "enumValue", message: "The 'kind' field must be one of a, b." },
    ]);
  });

  test("names unknown fields one by one", () => {
    expect(check(RULES, { id, shoeSize: 1, role: "admin" }).errors).toEqual([
      { field: "shoeSize", rule: "unknown", message: "'shoeSize' is not known here." },
      { field: "role", rule: "unknown", message: "'role' is not known here." },
    ]);
  });

  test("names an unknown field of an object by its path", () => {
    const { errors } = check(RULES, { id, owner: { name: "Ada", planet: "Mars" } });
    expect(errors).toMatchObject([{ field: "owner.planet", rule: "unknown" }]);
  });

  test.each([
    ["one value", { text: "x".repeat(1_000_000) }],
    ["the name of an unknown field", { ["x".repeat(1_000_000)]: 1 }],
    ["many unknown fields", Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`field${i}`, i]))],
  ])("stays small when %s is large", (_, params) => {
    const { errors } = check(RULES, { id, ...params });
    expect(errors).not.toEqual([]);
    expect(JSON.stringify(errors).length).toBeLessThan(20_000);
  });

  test("does not repeat the values", () => {
    const params = { id: "secret", text: "secret secret", kind: "secret", count: "secret", note: ["secret"] };
    const { errors } = check(RULES, params);
    expect(errors).toHaveLength(5);
    expect(JSON.stringify(errors)).not.toContain("secret");
  });
});
