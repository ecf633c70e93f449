import { describe, expect, test } from "@jest/globals";
import pg from "pg";
import {
  ConnectionAcquireTimeoutError,
  ConnectionRefusedError,
  DatabaseError,
  UniqueConstraintError,
} from "sequelize";

import {
  isDatabaseError,
  isDatabaseUnavailable,
  stateOf,
  violatesUnique,
} from "../../../lib/database-errors.ts";

/** An error of the server, as the driver throws it. */
function serverError(code: string, fields: object = {}): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError("SELECT secret", 0, "error"), { code, ...fields });
}

const asSequelize = (error: pg.DatabaseError) =>
  new DatabaseError(Object.assign(error, { sql: "SELECT secret" }));

describe("the database counts as away", () => {
  test.each([
    ["08006", "a connection failure"],
    ["53300", "too many connections"],
    ["53100", "a full disk"],
    ["57P01", "an administrator's shutdown"],
    ["57P03", "a server that is starting up"],
    ["57014", "a statement timeout"],
    ["25006", "a primary that has become a replica"],
    ["25P03", "a transaction that was idle for too long"],
    ["40001", "a serialization failure"],
    ["40P01", "a deadlock"],
    ["55P03", "a lock timeout"],
  ])("at SQLSTATE %s: %s", (code) => {
    expect(isDatabaseUnavailable(serverError(code))).toBe(true);
    expect(isDatabaseUnavailable(asSequelize(serverError(code)))).toBe(true);
  });

  test.each([
    "Connection terminated unexpectedly",
    "Connection terminated due to connection timeout",
    "Query read timeout",
    "timeout expired",
    "connect ECONNREFUSED 127.0.0.1:5432",
    "read ECONNRESET",
    "write EPIPE",
    "read ETIMEDOUT",
    "connect EHOSTUNREACH 10.0.0.7:5432",
    "connect ENETUNREACH 10.0.0.7:5432",
    "Client has encountered a connection error and is not queryable",
    "ConnectionManager.getConnection was called after the connection manager was closed!",
  ])("when the driver says %j", (message) => {
    expect(isDatabaseUnavailable(new Error(message))).toBe(true);
  });

  test("when no connection can be had", () => {
    expect(isDatabaseUnavailable(new ConnectionRefusedError(new Error("refused")))).toBe(true);
    expect(isDatabaseUnavailable(new ConnectionAcquireTimeoutError(new Error("acquire")))).toBe(true);
  });
});

describe("the database does not count as away", () => {
  test.each([
    ["23505", "a unique violation"],
    ["23502", "a missing value"],
    ["22021", "a character that it does not take"],
    ["22P02", "a value of another type"],
    ["42601", "a syntax error"],
    ["42P01", "a missing table"],
    ["42501", "a missing privilege"],
    ["XX000", "an internal error"],
    ["40002", "another violation at commit"],
  ])("at SQLSTATE %s: %s", (code) => {
    expect(isDatabaseUnavailable(serverError(code))).toBe(false);
    expect(isDatabaseUnavailable(asSequelize(serverError(code)))).toBe(false);
  });

  test("because the text of its error says so, as values may be in it", () => {
    const error = serverError("23505", { message: "Key (email)=(Connection terminated) already exists." });
    expect(isDatabaseUnavailable(error)).toBe(false);
  });

  test.each([
    new Error("There is no such user."),
    new TypeError("x is undefined"),
    "ECONNRESET",
    null,
    undefined,
    { code: "08006" },
  ])("at %p", (error) => {
    expect(isDatabaseUnavailable(error)).toBe(false);
  });
});

describe("a violation of a unique index", () => {
  const parent = () => serverError("23505", { constraint: "users_email_unique" });

  test("is known by the name of the index", () => {
    expect(violatesUnique(parent(), "users_email_unique")).toBe(true);
    expect(violatesUnique(parent(), "users_pkey")).toBe(false);
  });

  test("is known when Sequelize has wrapped it", () => {
    const wrapped = new UniqueConstraintError({ parent: Object.assign(parent(), { sql: "" }) });
    expect(violatesUnique(wrapped, "users_email_unique")).toBe(true);
  });

  test.each([
    serverError("23514", { constraint: "users_email_unique" }),
    new Error("users_email_unique"),
    null,
  ])("is not %p", (error) => {
    expect(violatesUnique(error, "users_email_unique")).toBe(false);
  });
});

describe("an error of the database", () => {
  test("is one of the driver or of Sequelize, and has a state when the server has sent it", () => {
    expect(isDatabaseError(serverError("42601"))).toBe(true);
    expect(isDatabaseError(asSequelize(serverError("42601")))).toBe(true);
    expect(isDatabaseError(new ConnectionRefusedError(new Error("refused")))).toBe(true);
    expect(isDatabaseError(new Error("SELECT"))).toBe(false);
    expect(stateOf(serverError("42601"))).toBe("42601");
    expect(stateOf(asSequelize(serverError("42601")))).toBe("42601");
    expect(stateOf(new Error("42601"))).toBeUndefined();
  });
});
