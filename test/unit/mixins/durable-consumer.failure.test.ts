import { expect, test } from "@jest/globals";
import { Errors } from "moleculer";
import pg from "pg";

import { appError } from "../../../broker/errors.ts";
import { describe as describeError, isOutage } from "../../../mixins/durable-consumer.failure.ts";

const databaseError = (code: string): Error =>
  Object.assign(new pg.DatabaseError("said the server", 1, "error"), { code });

test.each([
  ["a database that shuts down", databaseError("57P01")],
  ["a database that starts", databaseError("57P03")],
  ["a database without a free connection", databaseError("53300")],
  ["a primary that has become a replica", databaseError("25006")],
  ["a database that a service has not reached", appError("DATABASE_UNAVAILABLE")],
  ["a service that is on no node", new Errors.ServiceNotFoundError({ action: "users.get", nodeID: "" })],
  ["a service whose circuit is open", appError("SERVICE_UNAVAILABLE")],
])("%s is an outage", (_, error) => {
  expect(isOutage(error)).toBe(true);
});

test.each([
  ["a statement that took too long", databaseError("57014")],
  ["a deadlock", databaseError("40P01")],
  ["a wrong statement", databaseError("42601")],
  [
    "a call that was not answered in time",
    new Errors.RequestTimeoutError({ action: "users.get", nodeID: "" }),
  ],
  ["a request that was refused", appError("USER_NOT_FOUND")],
  ["an error of the handler", new TypeError("no such field")],
  ["what is no error", "a text"],
])("%s is no outage", (_, error) => {
  expect(isOutage(error)).toBe(false);
});

test("an error is kept by its type, or else its name, and a message that is not too long", () => {
  expect(describeError(appError("USER_NOT_FOUND"))).toMatchObject({ errorType: "USER_NOT_FOUND" });
  const { errorType, errorMessage } = describeError(new TypeError("x".repeat(5000)));
  expect([errorType, errorMessage.length]).toEqual(["TypeError", 1000]);
});
