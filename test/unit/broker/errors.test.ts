import { describe, expect, test } from "@jest/globals";

import { appError, hasType, invalidField, isAppError } from "../../../broker/errors.ts";
import { ERROR_CATALOGUE, type ErrorCode } from "../../../lib/error-catalogue.ts";

const CODES = Object.keys(ERROR_CATALOGUE) as ErrorCode[];

describe("an error of the catalogue", () => {
  test.each(CODES)(
    "%s has what Moleculer sends to other nodes: type, code, whether to retry, and data",
    (code) => {
      const { status, title, retryable } = ERROR_CATALOGUE[code];
      const error = appError(code, { detail: "In this case." });
      expect(error).toMatchObject({ type: code, code: status, retryable, data: { detail: "In this case." } });
      expect(error.message).toBe("In this case.");
      expect(appError(code).message).toBe(title);
    },
  );

  test("keeps what was beneath it for the log, not in its data", () => {
    const cause = new Error("SELECT secret");
    const error = appError("DATABASE_UNAVAILABLE", {}, cause);
    expect(error.cause).toBe(cause);
    expect(error.data).toEqual({});
  });

  test("for one field names it", () => {
    expect(invalidField("q", "date", "No.")).toMatchObject({
      type: "VALIDATION_FAILED",
      data: { errors: [{ field: "q", rule: "date", message: "No." }] },
    });
  });
});

describe("the type of an error", () => {
  test("is told by its name, not by its class", () => {
    const received = Object.assign(new Error("x"), { type: "USER_NOT_FOUND" });
    expect(hasType(received, "USER_NOT_FOUND")).toBe(true);
    expect(hasType(received, "EMAIL_TAKEN")).toBe(false);
    expect(isAppError(received)).toBe(true);
  });

  test.each([null, undefined, "USER_NOT_FOUND", new Error("USER_NOT_FOUND"), { type: "SOMETHING" }])(
    "is none of ours for %p",
    (error) => {
      expect(hasType(error, "USER_NOT_FOUND")).toBe(false);
      expect(isAppError(error)).toBe(false);
    },
  );
});
