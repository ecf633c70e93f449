import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

import { ADMIN_SETTINGS } from "./admin.ts";
import { signalAll } from "./processes.ts";
import { RUN_VARIABLE, temporaryDir, testRunDir } from "./test-run.ts";
import { waitFor } from "./wait-for.ts";

/** One JSON line of the log of a node. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [member: string]: unknown;
}

/** How a process ended. */
export interface Ended {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RollcallOptions {
  /** Settings over those of every test node: a free port, an empty data folder, a first admin, no rate limits. */
  readonly env?: Readonly<Record<string, string>>;
  /** Words before the command, which run it as another user. */
  readonly prefix?: readonly string[];
  /** The program; by default the one that starts a node. */
  readonly program?: string;
  readonly args?: readonly string[];
  /** By default one without a file `.env`, which the developer may have. */
  readonly cwd?: string;
  /** What it reads from its standard input. */
  readonly input?: string;
}

/** A process of Rollcall, seen from outside. */
export interface Rollcall {
  readonly pid: number;
  readonly isRunning: boolean;
  /** Address of its gateway. Throws until it was printed. */
  readonly url: string;
  /** Everything it has printed. */
  readonly output: string;
  /** The JSON lines among it. */
  readonly log: readonly LogLine[];
  readonly ended: Promise<Ended>;
  signal(signal: NodeJS.Signals): void;
  /** SIGINT to it and every process of its group, as Ctrl-C in a terminal does. */
  pressCtrlC(): void;
  /** SIGTERM, then waits for its end. One that has ended already is no error. */
  stop(): Promise<Ended>;
  /** SIGKILL, then waits for its end. */
  kill(): Promise<Ended>;
}

const ROOT = join(import.meta.dirname, "../..");
const START_TIMEOUT_MS = 60_000;

/** Runs a program of Rollcall and does not wait for anything. */
export function launchRollcall({
  env = {},
  prefix = [],
  program = "start.js",
  args = [],
  cwd = "/",
  input = "",
}: RollcallOptions = {}): Rollcall {
  testRunDir();
  const words = [...prefix, process.execPath, join(ROOT, "bootstrap", program), ...args];
  const [command = process.execPath, ...rest] = words;
  const child = spawn(command, rest, {
    cwd,
    // A process group of its own, as a shell gives each job.
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    // Not the environment of the tests: settings of the developer's shell are not those of the test.
    env: {
      PATH: process.env["PATH"],
      [RUN_VARIABLE]: process.env[RUN_VARIABLE],
      PORT: "0",
      RATE_LIMIT: "off",
      DATA_DIR: join(temporaryDir("data"), "new"),
      ...ADMIN_SETTINGS,
      ...env,
    },
  });
  child.stdin.end(input);
  const pid = child.pid ?? 0;
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const ended = endOf(child);
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  const end = (signal: NodeJS.Signals): Promise<Ended> => {
    if (isRunning()) signalAll([pid], signal);
    return ended;
  };

  return {
    pid,
    ended,
    get isRunning() {
      return isRunning();
    },
    get output() {
      return output;
    },
    get log() {
      return parseLog(output);
    },
    get url() {
      const [, url] = /^Rollcall is ready at (\S+)$/m.exec(output) ?? [];
      if (url === undefined) throw new Error(`No gateway is ready in this process: ${output}`);
      return url;
    },
    signal: (signal) => signalAll([pid], signal),
    pressCtrlC: () => signalAll([-pid], "SIGINT"),
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}

async function endOf(child: ChildProcess): Promise<Ended> {
  const [exitCode, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { exitCode, signal };
}

/**
 * Starts a node and waits until it is up.
 *
 * @throws {Error} with what it printed when it ends instead.
 */
export async function startRollcall(options: RollcallOptions = {}): Promise<Rollcall> {
  const node = launchRollcall(options);
  const isUp = (): boolean => {
    const started = node.log.find(({ msg }) => msg === "node started");
    const services = (started?.["services"] ?? []) as string[];
    return started !== undefined && (!services.includes("api") || node.output.includes("Press Ctrl-C"));
  };
  try {
    await waitFor(() => !node.isRunning || isUp(), {
      description: "the node to start",
      timeoutMs: START_TIMEOUT_MS,
    });
    if (!node.isRunning) throw new Error("The node ended instead of starting");
  } catch (cause) {
    await node.kill();
    throw new Error(`The node did not start. It printed: ${node.output}`, { cause });
  }
  return node;
}

/**
 * Waits until a node has logged a line with these members, and returns it: lines arrive a moment after answers.
 *
 * @param from how many of its first lines are not looked at
 */
export function untilLogged(
  node: Rollcall,
  members: Readonly<Record<string, unknown>>,
  from = 0,
): Promise<LogLine> {
  const expected = Object.entries(members);
  const matches = (line: LogLine): boolean => expected.every(([name, value]) => line[name] === value);
  return waitFor(() => node.log.slice(from).find(matches), {
    description: `the node to log ${JSON.stringify(members)}`,
  }) as Promise<LogLine>;
}

/**
 * The lines of the log above "info", but for those that a busy machine explains: a check of a dependency that took too
 * long, and calls that were under way when the node stopped.
 */
export function complaintsOf({ log }: Rollcall): LogLine[] {
  const isOfBusyMachine = ({ dependency, msg }: LogLine): boolean =>
    dependency !== undefined || /^Waiting for \d+ running context/.test(msg);
  return log.filter((line) => line.level !== "info" && !isOfBusyMachine(line));
}

/** Runs a program of Rollcall to its end. */
export async function runRollcall(options: RollcallOptions): Promise<Ended & { output: string }> {
  const node = launchRollcall(options);
  const ended = await node.ended;
  return { ...ended, output: node.output };
}

function parseLog(output: string): LogLine[] {
  const complete = output.slice(0, output.lastIndexOf("\n") + 1);
  return complete
    .split("\n")
    .filter((line) => line.startsWith('{"level"'))
    .map((line) => JSON.parse(line) as LogLine);
}
