import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { absenceOf, answerOf, decode, encode, entryOf } from "../../../../broker/cache/entry.ts";
import { decodeMessage } from "../../../../broker/cache/messages.ts";
import { appError } from "../../../../broker/errors.ts";

describe("an entry", () => {
  test("is the same after it was written and read, whatever its value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const entry = entryOf(value);
        expect(decode(entry.version, encode(entry))).toEqual(JSON.parse(JSON.stringify(entry)));
      }),
    );
  });

  test.each([
    [{ version: 3 }, 3],
    [{ version: "3" }, 0],
    [{ version: -1 }, 0],
    [{ version: 1.5 }, 0],
    [null, 0],
    ["text", 0],
  ])("of %j has the version %i", (value, version) => {
    expect(entryOf(value).version).toBe(version);
  });

  test.each(["", "=", "={", "!", "?1", "no entry", "=1 2"])("is not read from %j", (text) => {
    expect(decode(1, text)).toBeUndefined();
  });
});

describe("an absence", () => {
  test("throws the error that it was made from", () => {
    const absence = absenceOf(appError("USER_NOT_FOUND", { detail: "There is none." }), 5);
    expect(absence?.version).toBe(5);
    expect(() => absence && answerOf(absence)).toThrow(
      expect.objectContaining({ type: "USER_NOT_FOUND", code: 404, message: "There is none." }),
    );
  });

  test("is made from nothing but a 404 of the catalogue", () => {
    expect(absenceOf(appError("EMAIL_TAKEN"))).toBeUndefined();
    expect(absenceOf(Object.assign(new Error("of others"), { code: 404 }))).toBeUndefined();
  });
});

describe("a message", () => {
  test.each([
    "",
    "null",
    "1",
    "[]",
    "{}",
    '{"node":"a"}',
    '{"node":1,"key":"k"}',
    '{"node":"a","key":1}',
    '{"node":"a","key":"k","version":"1"}',
    "{",
  ])("is not read from %j", (text) => {
    expect(decodeMessage(text)).toBeUndefined();
  });
});
