import type { IncomingMessage } from "node:http";

import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import {
  joinParameters,
  readIdempotencyKey,
  readQuery,
  readRequestId,
  refuseAll,
} from "../../../../services/api/request-parameters.ts";

const withHeader = (name: string, value: string | undefined) =>
  ({ headers: { [name]: value } }) as unknown as IncomingMessage;

/** What is thrown for these fields. */
const invalid = (...errors: { field: string; rule: string }[]) =>
  expect.objectContaining({
    type: "VALIDATION_FAILED",
    data: { errors: errors.map((error) => expect.objectContaining(error) as unknown) },
  });

describe("a query", () => {
  test.each<[string, Record<string, string>]>([
    ["/users", {}],
    ["/users?", {}],
    ["/users?&", {}],
    ["/users?limit=5&sort=-createdAt", { limit: "5", sort: "-createdAt" }],
    ["/users?q=", { q: "" }],
    ["/users?q", { q: "" }],
    ["/users?q=a+b%2Bc%20d", { q: "a b+c d" }],
    ["/users?q=a=b==", { q: "a=b==" }],
    ["/users?q=%C5%BB%C3%B3%C5%82%C4%87", { q: "Żółć" }],
    ["/users?%71=x", { q: "x" }],
    ["/users?q=a?b#c", { q: "a?b#c" }],
    ["/users?email[$ne]=x&a.b=1", { "email[$ne]": "x", "a.b": "1" }],
    ["/users?toString=1&constructor=2", { toString: "1", constructor: "2" }],
  ])("%s has the parameters %j", (url, parameters) => {
    expect(readQuery(url)).toEqual(parameters);
  });

  test.each([
    ["?limit=1&limit=2", "limit"],
    ["?limit=1&limit=1", "limit"],
    ["?q&q", "q"],
    ["?q=1&%71=2", "q"],
    ["?toString=1&toString=1", "toString"],
  ])("with a parameter given twice is refused: %s", (url, field) => {
    expect(() => readQuery(url)).toThrow(invalid({ field, rule: "duplicate" }));
  });

  test.each([
    ["?q=%", "q"],
    ["?q=%zz", "q"],
    ["?q=%C3", "q"],
    ["?q=%ff%fe", "q"],
    ["?q=%ED%A0%80", "q"],
    ["?%E0%A4%A=1", "%E0%A4%A"],
  ])("with escapes that are no UTF-8 is refused: %s", (url, field) => {
    expect(() => readQuery(url)).toThrow(invalid({ field, rule: "encoding" }));
  });

  test.each(["?__proto__=1", "?__proto__", "?%5f_proto__=1"])(
    "that reaches for the prototype is refused: %s",
    (url) => {
      expect(() => readQuery(url)).toThrow(invalid({ field: "__proto__", rule: "unknown" }));
    },
  );

  test("is read as it was written, whatever names and values are", () => {
    const parameter = fc.tuple(fc.string({ minLength: 1 }), fc.string({ unit: "grapheme" }));
    fc.assert(
      fc.property(fc.uniqueArray(parameter, { selector: ([name]) => name }), (parameters) => {
        fc.pre(parameters.every(([name]) => name !== "__proto__"));
        const query = new URLSearchParams(parameters).toString();
        expect(Object.entries(readQuery(`/users?${query}`))).toEqual(expect.arrayContaining(parameters));
      }),
    );
  });
});

describe("parameters", () => {
  test("are those that were given and those of the path", () => {
    expect(joinParameters({ nickname: null }, { id: "1" })).toEqual({ nickname: null, id: "1" });
  });

  test.each(["id", "expectedVersions"])("may not bring %s, which only path and headers say", (field) => {
    expect(() => joinParameters({ nickname: "x", [field]: "2" }, { id: "1" })).toThrow(
      invalid({ field, rule: "unknown" }),
    );
  });

  test("are refused all by name where there are none", () => {
    expect(() => refuseAll({ a: "1", b: "2" })).toThrow(
      invalid({ field: "a", rule: "unknown" }, { field: "b", rule: "unknown" }),
    );
    expect(() => refuseAll({})).not.toThrow();
  });
});

describe("an idempotency key", () => {
  test.each(["1", "order 4711", "01890a5d-ac96-774b-bcce-b302099a8057", "~!@#", "k".repeat(255)])(
    "may be %j",
    (key) => {
      expect(readIdempotencyKey(withHeader("idempotency-key", key))).toBe(key);
    },
  );

  test.each(["", "k".repeat(256), "schlüssel", "a\tb", "a\u0000", "\u007f"])("may not be %j", (key) => {
    expect(() => readIdempotencyKey(withHeader("idempotency-key", key))).toThrow(
      invalid({ field: "Idempotency-Key", rule: "format" }),
    );
  });

  test("need not be given", () => {
    expect(readIdempotencyKey(withHeader("idempotency-key", undefined))).toBeUndefined();
  });
});

describe("a request id", () => {
  test.each(["1", "01890a5d-ac96-774b-bcce-b302099a8057", "web.42_a-B", "x".repeat(128)])(
    "may be %j",
    (id) => {
      expect(readRequestId(withHeader("x-request-id", id))).toBe(id);
    },
  );

  test.each(["", "x".repeat(129), "a b", "a\nb", "<script>", "a;b", "é", "a\u0000"])(
    "is ignored when it is %j",
    (id) => {
      expect(readRequestId(withHeader("x-request-id", id))).toBeUndefined();
    },
  );

  test("need not be given", () => {
    expect(readRequestId(withHeader("x-request-id", undefined))).toBeUndefined();
  });
});
