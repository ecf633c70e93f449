import { createRequire } from "node:module";
import { pino, stdSerializers, type DestinationStream, type Logger } from "pino";
import type * as pinoPretty from "pino-pretty";
import type { Config } from "./config.ts";
import { standardOutput } from "./log-output.ts";
import { StartupError } from "./startup-error.ts";

/** Names of members whose values never reach the log, at the top and two levels below. */
const SECRET_MEMBERS: ReadonlySet<string> = new Set([
  "password",
  "currentPassword",
  "newPassword",
  "secret",
  "token",
  "accessToken",
  "refreshToken",
  "authorization",
  "cookie",
  "apiKey",
]);
const REDACTED_LEVELS = 3;

/**
 * The logger of a node: JSON lines, or text for people on a terminal.
 *
 * @param destination takes the lines
 */
export function createLogger(
  config: Pick<Config, "LOG_LEVEL" | "LOG_FORMAT" | "NODE_ID">,
  destination: DestinationStream = standardOutput(),
): Logger {
  const isPretty = config.LOG_FORMAT === "pretty" || (config.LOG_FORMAT === "auto" && process.stdout.isTTY);
  return pino(
    {
      level: config.LOG_LEVEL,
      base: { node: config.NODE_ID },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (members) => redact(members),
      },
      serializers: { err: (error: Error) => redact(describeError(error), REDACTED_LEVELS - 1) },
      hooks: {
        // Moleculer logs `(text, object)` and `(text, reason)`; pino wants the object first, and would drop both.
        logMethod(args, method) {
          const [first, second] = args as unknown[];
          if (typeof first === "string" && typeof second === "object" && second !== null) {
            const bindings = second instanceof Error ? { err: second } : second;
            method.apply(this, [bindings, first] as unknown as Parameters<typeof method>);
            return;
          }
          if (typeof first === "string" && typeof second === "string" && !first.includes("%")) {
            method.call(this, `${first} ${second}`);
            return;
          }
          method.apply(this, args);
        },
      },
    },
    isPretty ? forPeople(destination) : destination,
  );
}

/**
 * The same without secrets: a copy of what holds some. It is done here, as pino's own way costs each line more than all
 * the rest of it does.
 */
function redact<T extends object>(members: T, levels = REDACTED_LEVELS): T {
  let copy: T | undefined;
  for (const [name, value] of Object.entries(members)) {
    let shown: unknown = value;
    if (SECRET_MEMBERS.has(name)) shown = "[secret]";
    else if (levels > 1 && isPlain(value)) shown = redact(value, levels - 1);
    if (shown === value) continue;
    copy ??= (Array.isArray(members) ? [...members] : { ...members }) as T;
    copy[name as keyof T] = shown as T[keyof T];
  }
  return copy ?? members;
}

/** Others than these have a way of their own to be written. */
function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Array.isArray(value);
}

/** A reason for not starting is a sentence for the operator; only a defect needs its stack. */
function describeError(error: Error & { type?: unknown }): object {
  if (error instanceof StartupError) return { type: error.name, message: error.message };
  // pino writes the class under `type`, which says less than the code of an error that has one.
  return { ...stdSerializers.err(error), ...(typeof error.type === "string" && { type: error.type }) };
}

/** Of pino-pretty only what makes the text: its own way to write it stops the process while a pipe is full. */
function forPeople(destination: DestinationStream): DestinationStream {
  // Loaded where it is needed, as it takes memory.
  const { prettyFactory } = createRequire(import.meta.url)("pino-pretty") as typeof pinoPretty;
  const toText = prettyFactory({
    singleLine: true,
    ignore: "pid,hostname,node",
    translateTime: "SYS:HH:MM:ss.l",
  });
  return { write: (line) => destination.write(toText(line)) };
}
