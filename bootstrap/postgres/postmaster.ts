import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { Logger } from "pino";

import { freePort } from "../../lib/free-port.ts";
import { prefixed } from "./programs.ts";
import { forwardServerLog, LOG_LINE_PREFIX } from "./server-log.ts";

export interface PostmasterOptions {
  readonly postgres: string;
  /** See `RunAs`. */
  readonly prefix: readonly string[];
  /** An initialised data folder. */
  readonly cluster: string;
  /** A free one by default. */
  readonly port?: number | undefined;
  /** Settings of PostgreSQL, over the defaults below. */
  readonly settings: Readonly<Record<string, string>>;
  readonly log: Logger;
}

/** A running server. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  /** See `endPostmaster`. */
  stop(): Promise<void>;
}

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: "127.0.0.1",
  // The path of a Unix socket may have 107 bytes; a folder's path may have more.
  unix_socket_directories: "",
  max_connections: "100",
  timezone: "UTC",
  log_timezone: "UTC",
  log_line_prefix: LOG_LINE_PREFIX,
  log_checkpoints: "off",
  // Statements and the values of their parameters are personal data.
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
};

/** Recovery after a crash reads about max_wal_size (1 GB) of log; a slow disk does that in this time. */
const START_TIMEOUT_MS = 120_000;
const READY_POLL_MS = 5;
const PORT_ATTEMPTS = 3;

/** What ends a server, gentlest first, and how long each may take. */
const END_STEPS = [
  { signal: "SIGINT", timeoutMs: 10_000 }, // "fast": ends all sessions and writes a checkpoint
  { signal: "SIGQUIT", timeoutMs: 6_000 }, // "immediate": as in a crash, but it ends its children itself
  { signal: "SIGKILL", timeoutMs: 2_000 },
] as const;
const END_POLL_MS = 10;

/**
 * Starts a server on a data folder and waits until it accepts connections. An end that nobody asked for is logged.
 *
 * @throws {Error} when it ends or is not ready in time, with its last words.
 */
export async function startPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  if (options.port !== undefined) return launch(options, options.port);
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(options, await freePort());
    } catch (error) {
      // Somebody took the port between our look and the server's.
      const isPortTaken =
        error instanceof Error && error.message.includes("could not create any TCP/IP sockets");
      if (!isPortTaken || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

/**
 * Ends a server and waits until it is gone: first so that the next start needs no recovery, then by force.
 *
 * @param isRunning tells whether the process is still there and still that server
 * @throws {Error} when even SIGKILL does not end it (a process that hangs in the kernel).
 */
export async function endPostmaster(pid: number, isRunning: () => boolean, log: Logger): Promise<void> {
  for (const { signal, timeoutMs } of END_STEPS) {
    if (!isRunning()) return;
    if (signal !== "SIGINT") log.warn({ pid, signal }, "PostgreSQL has not ended yet");
    process.kill(pid, signal);
    const deadline = performance.now() + timeoutMs;
    while (isRunning() && performance.now() < deadline) await sleep(END_POLL_MS);
  }
  if (isRunning()) throw new Error(`PostgreSQL (pid ${pid}) could not be ended`);
}

async function launch(options: PostmasterOptions, port: number): Promise<Postmaster> {
  const { postgres, prefix, cluster, log } = options;
  const settings = Object.entries({ ...SETTINGS, ...options.settings });
  const flags = settings.flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const [command, args] = prefixed(prefix, postgres, ["-D", cluster, "-p", String(port), ...flags]);
  const child = spawn(command, args, {
    // Ctrl-C reaches the whole process group, but the server has to outlive the requests that are being finished.
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const lastWords = forwardServerLog(child.stderr, log);
  await once(child, "spawn");
  // The last resort of a process that exits without stopping: the server then shuts down by itself.
  const endWithOwner = (): boolean => child.kill("SIGINT");
  process.once("exit", endWithOwner);
  child.once("exit", () => process.removeListener("exit", endWithOwner));
  const closed = once(child, "close");
  const pid = child.pid as number;
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;

  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!(await isReady(cluster, pid))) {
    if (performance.now() > deadline) await endPostmaster(pid, isRunning, log);
    if (!isRunning()) {
      await closed;
      throw new Error(`PostgreSQL did not start: ${lastWords()}`);
    }
    await sleep(READY_POLL_MS);
  }

  let isEnding = false;
  child.once("exit", (exitCode, signal) => {
    if (!isEnding) log.error({ pid, exitCode, signal }, "PostgreSQL ended unexpectedly");
  });
  return {
    pid,
    port,
    stop: () => {
      isEnding = true;
      return endPostmaster(pid, isRunning, log);
    },
  };
}

/** Line 1 of postmaster.pid is the process, line 8 its state. A crashed server leaves a file with another process. */
async function isReady(cluster: string, pid: number): Promise<boolean> {
  const lines = await readFile(join(cluster, "postmaster.pid"), "utf8").catch(() => "");
  const [writer, , , , , , , state = ""] = lines.split("\n");
  return Number(writer) === pid && state.startsWith("ready");
}
