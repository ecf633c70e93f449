import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** One running process as the operating system lists it. */
interface ProcessEntry {
  readonly pid: number;
  readonly parentPid: number;
  /** Whether a signal has stopped it. */
  readonly isStopped: boolean;
  /** The environment it was started with, as raw text; empty when it may not be read. */
  readonly environment: () => string;
  /** The folder it works in; empty when it may not be read. */
  readonly workingDir: () => string;
  readonly command: () => string;
}

/** Sends `signal` to each process; one that has ended meanwhile is not an error. */
export function signalAll(pids: Iterable<number>, signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

/**
 * `pid` and all its descendants, parents first. A process group would not do: PostgreSQL puts each of its children
 * into a group of its own.
 */
export function processTree(pid: number): number[] {
  return treesOf([pid], listProcesses());
}

/**
 * Stops `pid` and all its descendants from running, also those that one of them was just about to start, and waits for
 * it: other threads run on until the one that gets the signal has its turn, 28 ms on a busy machine.
 */
export function freezeTree(pid: number): void {
  for (;;) {
    const entries = listProcesses();
    const tree = new Set(treesOf([pid], entries));
    const running = entries.filter((entry) => tree.has(entry.pid) && !entry.isStopped);
    if (running.length === 0) return;
    signalAll(
      running.map((entry) => entry.pid),
      "SIGSTOP",
    );
  }
}

/**
 * Every process of a test run: started with `variable=dir` in its environment or working inside `dir`, and their
 * descendants. It finds servers whose parent was killed, which no parent-child relation leads to any more; and by the
 * folder those that overwrite their environment with a title (Redis, PostgreSQL's children).
 */
export function processesOfRun(variable: string, dir: string): number[] {
  const entries = listProcesses();
  const marker = `${variable}=${dir}`;
  const belongs = (entry: ProcessEntry): boolean =>
    entry.environment().includes(marker) || `${entry.workingDir()}/`.startsWith(`${dir}/`);
  return treesOf(
    entries.filter(belongs).map((entry) => entry.pid),
    entries,
  );
}

/** Those of the given processes that have not ended. */
export function stillRunning(pids: Iterable<number>): number[] {
  const running = new Set(listProcesses().map((entry) => entry.pid));
  return [...pids].filter((pid) => running.has(pid));
}

/** The command line of a process for a message; the bare pid when it has ended. */
export function describeProcess(pid: number): string {
  const entry = listProcesses().find((candidate) => candidate.pid === pid);
  return `${pid} ${entry?.command().slice(0, 200) ?? "(ended)"}`;
}

function treesOf(roots: readonly number[], entries: readonly ProcessEntry[]): number[] {
  const children = Map.groupBy(entries, (entry) => entry.parentPid);
  const found = new Set(roots);
  // A Set visits what is added to it while it is walked.
  for (const pid of found) for (const child of children.get(pid) ?? []) found.add(child.pid);
  return [...found];
}

function listProcesses(): ProcessEntry[] {
  return process.platform === "linux" ? listFromProc() : listFromPs();
}

/** Gone while we looked; or a zombie, which stays listed for as long as its parent does not ask for its exit code. */
const ENDED_STATES = new Set(["", "Z", "X"]);

/** Slim Linux images have no `ps`. */
function listFromProc(): ProcessEntry[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.flatMap((name) => {
    const stat = readProc(name, "stat");
    // "pid (name) state parent …"; the name may itself contain spaces and parentheses.
    const [state, parentPid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state === undefined || ENDED_STATES.has(state)) return [];
    return [
      {
        pid: Number(name),
        parentPid: Number(parentPid),
        isStopped: state === "T",
        environment: () => readProc(name, "environ"),
        workingDir: () => readProcLink(name, "cwd"),
        command: () => readProc(name, "cmdline").replaceAll("\0", " "),
      },
    ];
  });
}

function readProc(pid: string, file: string): string {
  return emptyIfUnreadable(() => readFileSync(`/proc/${pid}/${file}`, "utf8"));
}

function readProcLink(pid: string, file: string): string {
  return emptyIfUnreadable(() => readlinkSync(`/proc/${pid}/${file}`));
}

/** A process may end while we look, or belong to somebody whose details we may not see. */
function emptyIfUnreadable(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}

/** macOS: `-E` appends the environment to the command; the working folder is not shown. */
function listFromPs(): ProcessEntry[] {
  const lines = execFileSync("ps", ["-A", "-E", "-ww", "-o", "pid=,ppid=,state=,command="], {
    encoding: "utf8",
  });
  return lines.split("\n").flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\S+)\s(.*)$/.exec(line);
    if (!match) return [];
    const text = (): string => match[4] ?? "";
    const isStopped = match[3]?.startsWith("T") === true;
    const pids = { pid: Number(match[1]), parentPid: Number(match[2]) };
    return [{ ...pids, isStopped, environment: text, workingDir: () => "", command: text }];
  });
}
