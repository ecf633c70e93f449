import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Errors, type Context, type Service, type ServiceBroker } from "moleculer";

import { appError } from "../../../broker/errors.ts";
import { capturingLogger, type LogEntry } from "../../support/capturing-logger.ts";
import { createTestBroker } from "../../support/test-broker.ts";

const DEBUG = 20;
const ERROR = 50;

let broker: ServiceBroker;
let entries: LogEntry[];
let answer: () => unknown;

beforeEach(async () => {
  const capturing = capturingLogger();
  entries = capturing.entries;
  broker = createTestBroker({ LOG_LEVEL: "debug" }, capturing.log);
  broker.createService({
    name: "work",
    actions: {
      do: { retryPolicy: { enabled: false }, handler: () => answer() },
      hidden: { visibility: "private", handler: () => answer() },
      async outer(this: Service, ctx: Context) {
        const result: unknown = await this.actions["hidden"]?.({}, { parentCtx: ctx });
        return result;
      },
    },
  });
  await broker.start();
});

afterEach(() => broker.stop());

const actionLines = () => entries.filter(({ mod }) => mod === "action");

describe("an action", () => {
  test("that succeeded is one line at debug level, with request and duration", async () => {
    answer = () => "done";
    await broker.call("work.do", {}, { requestID: "request-1" });
    expect(actionLines()).toMatchObject([
      {
        level: DEBUG,
        msg: "action done",
        action: "work.do",
        requestId: "request-1",
        durationMs: expect.any(Number),
      },
    ]);
  });

  test.each([appError("USER_NOT_FOUND"), appError("EMAIL_TAKEN"), new Errors.ValidationError("bad")])(
    "that was refused is one line at debug level: %p",
    async (thrown) => {
      answer = () => Promise.reject(thrown);
      await expect(broker.call("work.do")).rejects.toThrow(thrown.message);
      expect(actionLines()).toMatchObject([
        { level: DEBUG, msg: "action refused", action: "work.do", err: { message: thrown.message } },
      ]);
    },
  );

  test.each([
    new Error("x is undefined"),
    appError("DATABASE_UNAVAILABLE"),
    Object.assign(new Error("refused"), { code: "ECONNREFUSED" }),
    Object.assign(new Error("odd"), { code: 399 }),
  ])("that failed is one line at error level, with the error: %p", async (thrown) => {
    answer = () => Promise.reject(thrown);
    await expect(broker.call("work.do", {}, { requestID: "request-1" })).rejects.toThrow(thrown.message);
    expect(actionLines()).toMatchObject([
      {
        level: ERROR,
        msg: "action failed",
        action: "work.do",
        requestId: "request-1",
        err: { message: thrown.message },
      },
    ]);
  });

  test("says nothing of its parameters and result", async () => {
    answer = () => ({ email: "ada@example.com" });
    await broker.call("work.do", { password: "s3cret" });
    expect(JSON.stringify(actionLines())).not.toMatch(/s3cret|ada@example/);
  });

  test("that is private, as the gateway's own, is not logged", async () => {
    answer = () => "done";
    await expect(broker.call("work.outer")).resolves.toBe("done");
    expect(actionLines()).toMatchObject([{ action: "work.outer" }]);
  });
});
