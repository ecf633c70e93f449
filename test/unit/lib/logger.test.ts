import { stripVTControlCharacters } from "node:util";

import { describe, expect, test } from "@jest/globals";
import type { Logger } from "pino";

import { createLogger } from "../../../lib/logger.ts";
import { StartupError } from "../../../lib/startup-error.ts";

/** A logger of the product, and the lines that it has written. */
function jsonLogger(level: "trace" | "info" | "silent" = "trace"): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const config = { LOG_LEVEL: level, LOG_FORMAT: "json", NODE_ID: "users-1" } as const;
  return { log: createLogger(config, { write: (line) => void lines.push(line) }), lines };
}

/** Logs as Moleculer does, which pino's types rule out. */
const logAsMoleculer = (log: Logger, level: "info" | "warn" | "error", ...args: unknown[]): void =>
  void Reflect.apply(log[level], log, args);

const parse = (line: string | undefined) => JSON.parse(line ?? "") as Record<string, unknown>;

test("a log for people is text, a line each", () => {
  const lines: string[] = [];
  const config = { LOG_LEVEL: "info", LOG_FORMAT: "pretty", NODE_ID: "users-1" } as const;
  const log = createLogger(config, { write: (line) => void lines.push(line) });
  log.info({ durationMs: 3, password: "swordfish" }, "request");
  expect(lines.map(stripVTControlCharacters)).toEqual([
    expect.stringMatching(
      /^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: request \{"durationMs":3,"password":"\[secret\]"\}\n$/,
    ),
  ]);
});

describe("a line of the log", () => {
  test("is one line of JSON with level, time, node and message", () => {
    const { log, lines } = jsonLogger();
    log.info({ durationMs: 3, text: "two\nlines" }, "request");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^[^\n]*\n$/);
    expect(parse(lines[0])).toEqual({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      node: "users-1",
      durationMs: 3,
      text: "two\nlines",
      msg: "request",
    });
  });

  test.each(["trace", "debug", "info", "warn", "error", "fatal"] as const)(
    "says its level by name: %s",
    (level) => {
      const { log, lines } = jsonLogger();
      log[level]("text");
      expect(parse(lines[0])).toMatchObject({ level, msg: "text" });
    },
  );

  test("is written only from the chosen level on", () => {
    const info = jsonLogger("info");
    info.log.debug("no");
    info.log.info("yes");
    expect(info.lines.map((line) => parse(line)["msg"])).toEqual(["yes"]);

    const silent = jsonLogger("silent");
    silent.log.fatal("no");
    expect(silent.lines).toEqual([]);
  });

  test("has the sentence of a reason for not starting, and no stack", () => {
    const { log, lines } = jsonLogger();
    log.error(
      { err: new StartupError("PORT 3000 is in use.", { cause: new Error("EADDRINUSE") }) },
      "failed",
    );
    expect(parse(lines[0])["err"]).toEqual({ type: "StartupError", message: "PORT 3000 is in use." });
  });

  test("has the message and stack of an error", () => {
    const { log, lines } = jsonLogger();
    log.error({ err: new Error("broken") }, "failed");
    expect(parse(lines[0])).toMatchObject({
      err: { message: "broken", stack: expect.stringContaining("broken") },
      msg: "failed",
    });
  });

  test("has the code of an error that has one", () => {
    const { log, lines } = jsonLogger();
    log.error({ err: Object.assign(new Error("away"), { type: "DATABASE_UNAVAILABLE" }) }, "failed");
    expect(parse(lines[0])).toMatchObject({ err: { type: "DATABASE_UNAVAILABLE", message: "away" } });
  });
});

describe("what Moleculer logs as text and then something else", () => {
  test("keeps both", () => {
    const { log, lines } = jsonLogger();
    logAsMoleculer(log, "warn", "Request is timed out.", { action: "users.get" });
    expect(parse(lines[0])).toMatchObject({ action: "users.get", msg: "Request is timed out." });
  });

  test("keeps the error", () => {
    const { log, lines } = jsonLogger();
    logAsMoleculer(log, "error", "Unable to start.", new Error("no connection"));
    expect(parse(lines[0])).toMatchObject({ err: { message: "no connection" }, msg: "Unable to start." });
  });

  test("keeps a reason", () => {
    const { log, lines } = jsonLogger();
    logAsMoleculer(log, "warn", "Connection is failed.", "AUTHORIZATION_VIOLATION");
    expect(parse(lines[0])["msg"]).toBe("Connection is failed. AUTHORIZATION_VIOLATION");
  });

  test("keeps them in a child too", () => {
    const { log, lines } = jsonLogger();
    const child = log.child({ mod: "broker" });
    logAsMoleculer(child, "info", "text", { a: 1 });
    expect(parse(lines[0])).toMatchObject({ mod: "broker", a: 1, msg: "text" });
  });

  test("does not lose a text of two parts or a null", () => {
    const { log, lines } = jsonLogger();
    log.info("%s of %d", "page", 2);
    logAsMoleculer(log, "info", "nothing", null);
    expect(lines.map((line) => parse(line)["msg"])).toEqual([
      "page of 2",
      expect.stringContaining("nothing"),
    ]);
  });
});

describe("a secret", () => {
  const secrets = {
    password: "s3cret",
    currentPassword: "s3cret",
    newPassword: "s3cret",
    secret: "s3cret",
    token: "s3cret",
    accessToken: "s3cret",
    refreshToken: "s3cret",
    apiKey: "s3cret",
  };
  const headers = { authorization: "Bearer s3cret", cookie: "session=s3cret" };

  test.each<[string, object]>([
    ["itself", { ...secrets, ...headers }],
    ["below one member", { params: secrets, headers }],
    ["below two members", { request: { body: secrets, headers } }],
  ])("is not written when it is logged %s", (_, bindings) => {
    const { log, lines } = jsonLogger();
    log.info(bindings, "request");
    expect(lines[0]).not.toContain("s3cret");
    expect(lines[0]?.match(/\[secret\]/g)).toHaveLength(10);
  });

  test("is not written when Moleculer logs it after a text, when a child logs it, or when it is on an error", () => {
    const { log, lines } = jsonLogger();
    logAsMoleculer(log, "info", "call", { params: secrets });
    log.child({ mod: "x" }).info(secrets, "text");
    log.error({ err: Object.assign(new Error("refused"), secrets) }, "failed");
    expect(lines).toHaveLength(3);
    expect(lines.join("")).not.toContain("s3cret");
    expect(parse(lines[2])).toMatchObject({ err: { message: "refused", password: "[secret]" } });
  });

  test("is not written when it is in a list, which stays one", () => {
    const { log, lines } = jsonLogger();
    log.info({ tried: [{ password: "s3cret" }, 1] }, "text");
    expect(parse(lines[0])).toMatchObject({ tried: [{ password: "[secret]" }, 1] });
  });

  test("does not change the object that was logged", () => {
    const { log } = jsonLogger();
    const params = { password: "s3cret" };
    log.info({ params }, "text");
    expect(params).toEqual({ password: "s3cret" });
  });
});
