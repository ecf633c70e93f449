import { pino, type Logger } from "pino";

/** One line of the log, as pino writes it: `level` (30 info, 40 warn, 50 error, 60 fatal), `msg`, and what was logged. */
export interface LogEntry {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A logger whose lines a test can read; `entries` grows while it is used. */
export function capturingLogger(): { readonly log: Logger; readonly entries: LogEntry[] } {
  const entries: LogEntry[] = [];
  const log = pino({ level: "trace" }, { write: (line) => entries.push(JSON.parse(line) as LogEntry) });
  return { log, entries };
}
