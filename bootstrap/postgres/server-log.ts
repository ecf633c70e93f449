import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

import type { Logger } from "pino";

/** Starts every line of the server's log: severity and SQLSTATE follow, for `forwardServerLog`. */
export const LOG_LINE_PREFIX = "[%e] ";

const LINE = /^\[(\w{5})\] (\w+):\s+(.*)$/;

/** Classes of SQLSTATE that are the server's trouble: resources, system errors, damaged data. */
const SERVER_TROUBLE = /^(?:53|58|F0|XX)/;

/** What the server says at its lowest severity although an operator should know. */
const NOTEWORTHY = /was terminated by signal|not properly shut down|reinitializing/;

/**
 * Passes the log of a PostgreSQL server on. Errors of a statement (a duplicate key, a cancelled query) reach the
 * client, which decides what they mean; here they are `debug`.
 *
 * @returns a function that gives the last lines, for the message when the server does not start
 */
export function forwardServerLog(stderr: Readable, log: Logger): () => string {
  const last: string[] = [];
  createInterface({ input: stderr }).on("line", (line) => {
    last.push(line);
    if (last.length > 5) last.shift();
    const [, sqlstate = "", severity = "", message = line] = LINE.exec(line) ?? [];
    const entry = { postgres: { severity, sqlstate } };
    if (severity === "PANIC" || SERVER_TROUBLE.test(sqlstate)) log.error(entry, message);
    else if (NOTEWORTHY.test(message)) log.warn(entry, message);
    else log.debug(entry, message);
  });
  return () => last.join("\n");
}
