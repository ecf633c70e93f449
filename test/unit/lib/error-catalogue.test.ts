import { STATUS_CODES } from "node:http";

import { describe, expect, test } from "@jest/globals";

import { ERROR_CATALOGUE, isErrorCode, type ErrorDefinition } from "../../../lib/error-catalogue.ts";

const DEFINITIONS = Object.entries<ErrorDefinition>(ERROR_CATALOGUE);

describe("the catalogue", () => {
  test.each(DEFINITIONS)(
    "has a name for %s, a status of an error, a title and a text",
    (code, definition) => {
      const { status, title, description } = definition;
      expect(code).toMatch(/^[A-Z]+(?:_[A-Z]+)*$/);
      expect(STATUS_CODES).toHaveProperty(String(status));
      expect(status).toBeGreaterThanOrEqual(400);
      expect(title).toMatch(/^[A-Z].*[^.]$/);
      expect(description).toMatch(/^[A-Z`].*\.$/);
    },
  );

  test("says of the server's present state, and only of that, that a request may be sent again", () => {
    const retryable = DEFINITIONS.filter(([, definition]) => definition.retryable);
    expect(retryable.map(([code, { status }]) => [code, status])).toEqual([
      ["REQUEST_TOO_SLOW", 408],
      ["UPLOAD_INCOMPLETE", 409],
      ["IDEMPOTENCY_IN_FLIGHT", 409],
      ["RATE_LIMITED", 429],
      ["TOO_MANY_UPLOADS", 429],
      ["TOO_MANY_DOWNLOADS", 429],
      ["SERVICE_UNAVAILABLE", 503],
      ["DATABASE_UNAVAILABLE", 503],
      ["STORAGE_UNAVAILABLE", 503],
      ["OVERLOADED", 503],
      ["UPSTREAM_TIMEOUT", 504],
    ]);
  });

  test("is sorted by status, as its documentation is", () => {
    const statuses = DEFINITIONS.map(([, { status }]) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual(statuses);
  });
});

describe("an error code", () => {
  test.each(Object.keys(ERROR_CATALOGUE))("is %s", (code) => {
    expect(isErrorCode(code)).toBe(true);
  });

  test.each(["toString", "__proto__", "constructor", "user_not_found", "", null, undefined, 404, {}])(
    "is not %p",
    (value) => {
      expect(isErrorCode(value)).toBe(false);
    },
  );
});
