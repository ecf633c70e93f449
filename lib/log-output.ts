import { writeSync } from "node:fs";

/** How often it is tried again to write to a reader that has taken nothing. */
const RETRY_MS = 5;
/** More than this is not held in memory: then the node waits for the reader. */
const MAX_HELD_BYTES = 16_777_216;
/** How long a process that ends waits for the reader of its log. */
const LAST_WORDS_MS = 1000;

/**
 * Takes the lines of a log to a file descriptor. What one turn of the event loop logs leaves in one piece. A pipe whose
 * reader is slow is not waited for, as the whole node would be: pino does, for 100 ms at a time. What it cannot take yet
 * is held, and written before the process ends.
 */
export class LogOutput {
  readonly #fd: number;
  readonly #pause = new Int32Array(new SharedArrayBuffer(4));
  #lines = "";
  /** What was begun to be written. */
  #rest: Buffer = Buffer.alloc(0);
  #isScheduled = false;

  constructor(fd: number) {
    this.#fd = fd;
    process.on("exit", () => this.#writeAll(LAST_WORDS_MS));
  }

  write(line: string): void {
    this.#lines += line;
    if (this.#lines.length > MAX_HELD_BYTES) this.#writeAll(Number.POSITIVE_INFINITY);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#writeWhatFits());
  }

  #writeWhatFits(): void {
    this.#isScheduled = !this.#write();
    // At the end of the process what is left is written anyhow.
    if (this.#isScheduled) setTimeout(() => this.#writeWhatFits(), RETRY_MS).unref();
  }

  /** Waits for the reader, but no longer than this. */
  #writeAll(timeoutMs: number): void {
    const deadline = performance.now() + timeoutMs;
    while (!this.#write() && performance.now() < deadline) Atomics.wait(this.#pause, 0, 0, RETRY_MS);
  }

  /** @returns false when the reader takes no more for now */
  #write(): boolean {
    for (;;) {
      if (this.#rest.length === 0) {
        if (this.#lines === "") return true;
        this.#rest = Buffer.from(this.#lines);
        this.#lines = "";
      }
      try {
        this.#rest = this.#rest.subarray(writeSync(this.#fd, this.#rest));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EAGAIN") return false;
        // The reader is gone, or the disk is full: a node goes on without its log.
        this.#rest = this.#rest.subarray(this.#rest.length);
      }
    }
  }
}

/**
 * The log on standard output. Node has opened that as a stream, which makes a pipe say that it is full instead of stopping
 * the process until it is not.
 */
export function standardOutput(): LogOutput {
  return new LogOutput(process.stdout.fd);
}
