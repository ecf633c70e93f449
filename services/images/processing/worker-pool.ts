import type { Errors } from "moleculer";
import type { Logger } from "pino";
import { appError } from "../../../broker/errors.ts";
import type { ImageProcessorUsage, ProcessedImage } from "../image-processor.ts";
import { damaged, tooMuchMemory, tooMuchWork } from "../inspection/image-refusals.ts";
import { WorkerProcess, type JobOutcome } from "./worker-process.ts";
import type { WorkerJob, WorkerReply } from "./worker-messages.ts";

export interface WorkerPoolOptions {
  /** Most processes. */
  workers: number;
  /** Most jobs that wait. */
  queueMax: number;
  /** After this time a job that waits is refused: whoever asked has given up. */
  waitMs: number;
  /** After this time a job is given up, and its worker ended. */
  timeoutMs: number;
  /** Most memory for jobs that run at the same time, besides what their workers take anyhow. */
  memoryBytes: number;
  /** Workers that have had nothing to do for so long are ended. */
  idleMs: number;
  log: Pick<Logger, "warn" | "info" | "debug">;
}

interface Waiting {
  job: WorkerJob;
  memoryBytes: number;
  tooLong: NodeJS.Timeout;
  resolve: (image: ProcessedImage) => void;
  reject: (error: Error) => void;
}

/** Most memory of a worker besides what its job takes: Node, the libraries, and what was not given back yet. */
const WORKER_BYTES = 160 * 1024 ** 2;
/** An image may be innocent of the first end of a worker, not of the second. */
const ATTEMPTS = 2;

/**
 * Processes that work on images, started when there is work for them. Jobs wait in the order in which they came, for a
 * process and for memory: one that needs much waits until the others need less, and is not overtaken.
 */
export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #waiting: Waiting[] = [];
  readonly #workers = new Set<WorkerProcess>();
  readonly #idle: WorkerProcess[] = [];
  readonly #outcomes = { done: 0, refused: 0, overloaded: 0, failed: 0 };
  #running = 0;
  #memoryBytes = 0;
  #workMs = 0;
  #workersLost = 0;
  #isStopped = false;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  /**
   * @param memoryBytes about how much memory the job takes
   * @throws OVERLOADED, IMAGE_UNREADABLE, IMAGE_TOO_LARGE
   */
  run(job: WorkerJob, memoryBytes: number): Promise<ProcessedImage> {
    const mustWait = this.#waiting.length > 0 || !this.#hasRoomFor(memoryBytes);
    if (this.#isStopped || (mustWait && this.#waiting.length >= this.#options.queueMax)) {
      return Promise.reject(this.#overloaded());
    }
    const { promise, resolve, reject } = Promise.withResolvers<ProcessedImage>();
    const waiting = { job, memoryBytes, resolve, reject };
    const tooLong = setTimeout(() => this.#refuse(job), this.#options.waitMs);
    this.#waiting.push({ ...waiting, tooLong });
    this.#startWaiting();
    return promise;
  }

  usage(): ImageProcessorUsage {
    return {
      workers: this.#workers.size,
      running: this.#running,
      waiting: this.#waiting.length,
      outcomes: { ...this.#outcomes },
      workSeconds: this.#workMs / 1000,
      workersLost: this.#workersLost,
    };
  }

  /** For one that is refused before it comes here. */
  countRefused(): void {
    this.#outcomes.refused += 1;
  }

  /** Ends all workers; calls fail. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#idleTimer);
    this.#idle.length = 0;
    for (const { tooLong, reject } of this.#waiting.splice(0)) {
      clearTimeout(tooLong);
      reject(this.#overloaded());
    }
    await Promise.all([...this.#workers].map((worker) => worker.kill()));
  }

  #refuse(job: WorkerJob): void {
    const at = this.#waiting.findIndex((waiting) => waiting.job === job);
    const [waiting] = this.#waiting.splice(at, 1);
    clearTimeout(waiting?.tooLong);
    waiting?.reject(this.#overloaded());
    // It may have been the one that did not fit into memory.
    this.#startWaiting();
  }

  #overloaded(): Errors.MoleculerError {
    this.#outcomes.overloaded += 1;
    return appError("OVERLOADED", { detail: "Too many images are being processed at the same time." });
  }

  #hasRoomFor(memoryBytes: number): boolean {
    return (
      this.#running < this.#options.workers && this.#memoryBytes + memoryBytes <= this.#options.memoryBytes
    );
  }

  #startWaiting(): void {
    for (;;) {
      const [first] = this.#waiting;
      if (this.#isStopped || !first || !this.#hasRoomFor(first.memoryBytes)) return;
      this.#waiting.shift();
      clearTimeout(first.tooLong);
      void this.#work(first);
    }
  }

  async #work({ job, memoryBytes, resolve, reject }: Waiting): Promise<void> {
    this.#running += 1;
    this.#memoryBytes += memoryBytes;
    const startedAt = performance.now();
    const outcome = await this.#attempt(job, memoryBytes, ATTEMPTS);
    this.#workMs += performance.now() - startedAt;
    this.#running -= 1;
    this.#memoryBytes -= memoryBytes;
    if (outcome.kind === "done") {
      this.#outcomes.done += 1;
      resolve(outcome.image);
    } else reject(this.#errorOf(outcome));
    this.#startWaiting();
  }

  async #attempt(job: WorkerJob, memoryBytes: number, attempts: number): Promise<JobOutcome> {
    const { timeoutMs, log } = this.#options;
    const worker = this.#idle.pop() ?? this.#startWorker();
    const outcome = await worker.run(job, { timeoutMs, memoryBytes: WORKER_BYTES + memoryBytes });
    if (isReply(outcome)) {
      // It may have ended right after its reply.
      if (this.#workers.has(worker)) this.#rest(worker);
      return outcome;
    }
    log.warn({ ...outcome, pid: worker.pid }, "a worker on images was lost within a job");
    this.#workersLost += 1;
    if (outcome.kind === "died" && attempts > 1 && !this.#isStopped) {
      return this.#attempt(job, memoryBytes, attempts - 1);
    }
    return outcome;
  }

  #startWorker(): WorkerProcess {
    const worker = new WorkerProcess((ended, message) => {
      this.#workers.delete(ended);
      const at = this.#idle.indexOf(ended);
      if (at === -1) return;
      this.#idle.splice(at, 1);
      this.#options.log.warn({ pid: ended.pid, message }, "an idle worker on images was lost");
      this.#workersLost += 1;
    });
    this.#workers.add(worker);
    return worker;
  }

  #rest(worker: WorkerProcess): void {
    this.#idle.push(worker);
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => {
      for (const idle of this.#idle.splice(0)) void idle.kill();
    }, this.#options.idleMs).unref();
  }

  #errorOf(outcome: Exclude<JobOutcome, { kind: "done" }>): Error {
    if (this.#isStopped || (outcome.kind === "overtime" && outcome.wasStarved)) return this.#overloaded();
    if (outcome.kind === "failed" || (outcome.kind === "died" && !outcome.hadBegun)) {
      this.#outcomes.failed += 1;
      return new Error(`The files of an image could not be made: ${outcome.message}`);
    }
    this.#outcomes.refused += 1;
    if (outcome.kind === "overmemory") return tooMuchMemory();
    if (outcome.kind !== "unreadable") return tooMuchWork();
    this.#options.log.debug({ reason: outcome.message }, "an image could not be read");
    return damaged();
  }
}

function isReply(outcome: JobOutcome): outcome is WorkerReply {
  return outcome.kind === "done" || outcome.kind === "unreadable" || outcome.kind === "failed";
}
