import { fork, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { WorkerJob, WorkerMessage, WorkerReply } from "./worker-messages.ts";

/**
 * How a job ended. A worker that took too long or too much has been killed. One that had not begun died of no image, and
 * one that was starved got so little of the processors that the image may not be to blame.
 */
export type JobOutcome =
  | WorkerReply
  | { kind: "died"; message: string; hadBegun: boolean }
  | { kind: "overtime"; wasStarved: boolean }
  | { kind: "overmemory" };

/** What a job may take. */
export interface JobLimits {
  timeoutMs: number;
  /** Of the memory of the whole process. */
  memoryBytes: number;
}

/** A decoder takes 50 MB in this time. */
const MEMORY_CHECK_INTERVAL_MS = 25;
/** Of what a worker had to say before it died, in characters. */
const LAST_WORDS_LENGTH = 2000;
const PAGE_BYTES = 4096;
/** Of the time that a job may take: with less of it on a processor, a worker was starved. */
const STARVED_SHARE = 0.5;
/** In which Linux counts the time of processes. */
const TICK_MS = 10;

const WORKER = fileURLToPath(new URL("worker.ts", import.meta.url));

/** Small heaps: pixels are outside of them. */
const NODE_OPTIONS = ["--max-old-space-size=64", "--max-semi-space-size=2"];

/** All of its environment: nothing in there is worth stealing. What large buffers took goes back to the system at once. */
const ENVIRONMENT = {
  UV_THREADPOOL_SIZE: "1",
  MALLOC_ARENA_MAX: "1",
  MALLOC_MMAP_THRESHOLD_: "262144",
  MALLOC_TRIM_THRESHOLD_: "262144",
};

/** A running worker, as its parent sees it. */
export class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #lastWords = "";
  #isReady = false;
  #settle: ((outcome: JobOutcome) => void) | undefined;

  /** @param onExit called when it has ended, for whatever reason */
  constructor(onExit: (worker: WorkerProcess, message: string) => void) {
    this.#child = fork(WORKER, [], {
      env: ENVIRONMENT,
      execArgv: NODE_OPTIONS,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      // In a session of its own, so that it has a share of its own in the processors: see worker.ts.
      detached: true,
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-LAST_WORDS_LENGTH);
    });
    this.#child.on("message", (message: WorkerMessage) => {
      if (message.kind === "ready") this.#isReady = true;
      else this.#end(message);
    });
    this.#exited = new Promise((resolve) => {
      // "close" comes after "exit", when all that it has written was read; "error" instead when it could not be started.
      this.#child.once("close", (code, signal) => ended(`ended with ${signal ?? `exit code ${code}`}`));
      this.#child.once("error", (error) => ended(error.message));
      const ended = (how: string): void => {
        const message = `${how}: ${this.#lastWords}`;
        this.#end({ kind: "died", message, hadBegun: this.#isReady });
        onExit(this, message);
        resolve();
      };
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Has it do a job; one at a time. Never rejects. */
  async run(job: WorkerJob, limits: JobLimits): Promise<JobOutcome> {
    const { promise, resolve } = Promise.withResolvers<JobOutcome>();
    this.#settle = resolve;
    const before = processorMs(this.#child.pid);
    const overtime = setTimeout(() => {
      const workedMs = processorMs(this.#child.pid) - before;
      this.#giveUp({ kind: "overtime", wasStarved: workedMs < STARVED_SHARE * limits.timeoutMs });
    }, limits.timeoutMs);
    const memory = setInterval(() => {
      if (residentBytes(this.#child.pid) > limits.memoryBytes) this.#giveUp({ kind: "overmemory" });
    }, MEMORY_CHECK_INTERVAL_MS);
    // A channel that is closed says so here and not by an event; the end of the worker follows.
    this.#child.send(job, () => undefined);
    try {
      return await promise;
    } finally {
      clearTimeout(overtime);
      clearInterval(memory);
    }
  }

  /** Ends it, also one that hangs. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  #giveUp(outcome: JobOutcome): void {
    this.#end(outcome);
    void this.kill();
  }

  #end(outcome: JobOutcome): void {
    this.#settle?.(outcome);
    this.#settle = undefined;
  }
}

/** Resident memory of a process; 0 where the system does not tell. */
function residentBytes(pid: number | undefined): number {
  return Number(statusOf(pid, "statm")?.split(" ")[1] ?? 0) * PAGE_BYTES;
}

/** Time that a process has had on processors, of all its threads; NaN where the system does not tell. */
function processorMs(pid: number | undefined): number {
  // The name of the program comes first, in brackets, and may hold spaces.
  const fields = statusOf(pid, "stat")?.split(") ")[1]?.split(" ");
  return (Number(fields?.[11]) + Number(fields?.[12])) * TICK_MS;
}

/** What Linux, and no other system, tells of a process that has not ended. */
function statusOf(pid: number | undefined, file: "stat" | "statm"): string | undefined {
  if (process.platform !== "linux" || pid === undefined) return undefined;
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return undefined;
  }
}
