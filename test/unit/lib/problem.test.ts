import { describe, expect, test } from "@jest/globals";
import { Errors } from "moleculer";
import { DatabaseError } from "sequelize";

import { appError, invalidField } from "../../../broker/errors.ts";
import { ERROR_CATALOGUE, type ErrorCode } from "../../../lib/error-catalogue.ts";
import { codeOf, toProblem, type Problem } from "../../../lib/problem.ts";

const CODES = Object.keys(ERROR_CATALOGUE) as ErrorCode[];
const SERVER_CODES = CODES.filter((code) => ERROR_CATALOGUE[code].status >= 500);

const problemOf = (error: unknown): Problem =>
  toProblem(error, { instance: "/api/v1/users/1", requestId: "request-1" });

/** A report of the validator, in the error that Moleculer makes of it. */
const validationError = (...report: object[]): Error =>
  new Errors.ValidationError("Parameters validation error!", "", report);

describe("a problem document", () => {
  test.each(CODES)("of %s has everything that the catalogue says of it", (code) => {
    const { status, title, retryable } = ERROR_CATALOGUE[code];
    expect(problemOf(appError(code))).toEqual({
      type: `/docs/errors#${code.toLowerCase().replaceAll("_", "-")}`,
      title,
      status,
      detail: title,
      instance: "/api/v1/users/1",
      code,
      requestId: "request-1",
      retryable,
    });
  });

  test("shows the detail and the fields that the error was made with", () => {
    const errors = [{ field: "email", rule: "unique", message: "Another user has this email address." }];
    expect(problemOf(appError("EMAIL_TAKEN", { detail: "Taken.", errors }))).toMatchObject({
      detail: "Taken.",
      errors,
    });
    expect(problemOf(invalidField("q", "date", "No."))).toMatchObject({
      code: "VALIDATION_FAILED",
      errors: [{ field: "q", rule: "date", message: "No." }],
    });
  });

  test("is the same for an error that lost its class on the way between nodes", () => {
    const data = { detail: "There is no user '1'." };
    const error = appError("USER_NOT_FOUND", data);
    const { code, type, message, retryable } = error;
    const received = Object.assign(new Error(message), { code, type, data, retryable });
    expect(problemOf(received)).toEqual(problemOf(error));
  });
});

describe("an error of the framework", () => {
  const at = { action: "users.get", nodeID: "users-1" };

  test.each<[Error, ErrorCode]>([
    [new Errors.ServiceNotFoundError(at), "SERVICE_UNAVAILABLE"],
    [new Errors.ServiceNotAvailableError(at), "SERVICE_UNAVAILABLE"],
    [new Errors.RequestRejectedError(at), "SERVICE_UNAVAILABLE"],
    [new Errors.RequestTimeoutError(at), "UPSTREAM_TIMEOUT"],
    [new Errors.RequestSkippedError(at), "UPSTREAM_TIMEOUT"],
    [new Errors.QueueIsFullError({ ...at, size: 1, limit: 1 }), "OVERLOADED"],
    [validationError(), "VALIDATION_FAILED"],
    [Object.assign(new Error("Not found"), { type: "NOT_FOUND", code: 404 }), "ROUTE_NOT_FOUND"],
    [Object.assign(new Error("%"), { type: "UNABLE_DECODE_PARAM", code: 400 }), "MALFORMED_REQUEST"],
    [new Errors.MaxCallLevelError({ nodeID: "users-1", level: 100 }), "INTERNAL_ERROR"],
  ])("%p is answered with %s", (error, code) => {
    expect(codeOf(error)).toBe(code);
  });

  test("says nothing of actions and nodes", () => {
    for (const error of [new Errors.ServiceNotFoundError(at), new Errors.RequestTimeoutError(at)]) {
      expect(JSON.stringify(problemOf(error))).not.toMatch(/users\.get|users-1/);
    }
  });
});

describe("a code of the catalogue", () => {
  test.each(CODES)("%s is not taken for an error of the framework", (code) => {
    expect(codeOf(appError(code))).toBe(code);
  });
});

describe("what nobody expected", () => {
  test.each([
    new Error("connect ECONNREFUSED 10.0.0.7:5432"),
    Object.assign(new Error("secret"), { type: "toString" }),
    Object.assign(new Error("secret"), { type: 42, code: 404 }),
    new Errors.MoleculerError("secret", 404, "SOMETHING", { detail: "secret" }),
    "secret",
    { detail: "secret", data: { detail: "secret", errors: [{ field: "secret" }] } },
    null,
    undefined,
  ])("is INTERNAL_ERROR and is not shown: %p", (error) => {
    const problem = problemOf(error);
    expect(problem).toMatchObject({
      code: "INTERNAL_ERROR",
      status: 500,
      detail: ERROR_CATALOGUE.INTERNAL_ERROR.title,
    });
    expect(JSON.stringify(problem)).not.toMatch(/secret|ECONNREFUSED|10\.0\.0\.7/);
  });

  test("an error of the database does not show its SQL", () => {
    const parent = Object.assign(new Error('relation "users.users" does not exist'), {
      sql: "SELECT secret",
    });
    expect(JSON.stringify(problemOf(new DatabaseError(parent)))).not.toMatch(/SELECT|relation|secret/);
  });

  test.each(SERVER_CODES)("beneath %s stays out of the document", (code) => {
    const error = appError(code, {}, new Error("SELECT secret"));
    error.message = "SELECT secret";
    expect(JSON.stringify(problemOf(error))).not.toContain("secret");
  });
});

describe("the report of the validator", () => {
  test("becomes the fields of the document, without what the framework adds", () => {
    const email = { field: "email", rule: "required", message: "The 'email' field is required." };
    const bio = { field: "bio", rule: "stringMax", message: "Too long." };
    const error = validationError({ ...email, nodeID: "users-1", action: "users.create" }, bio);
    expect(problemOf(error)).toMatchObject({ code: "VALIDATION_FAILED", detail: "The request is not valid" });
    expect(problemOf(error).errors).toEqual([email, bio]);
  });

  test("may be missing", () => {
    const error = new Errors.ValidationError("Parameters validation error!");
    expect(problemOf(error)).not.toHaveProperty("errors");
  });
});
