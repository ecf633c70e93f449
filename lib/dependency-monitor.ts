import type { Logger } from "pino";
import { within } from "./waiting.ts";

/** What is known of a dependency; safe to show to anyone. */
export interface DependencyStatus {
  status: "up" | "down";
  /** Duration of the last successful check, in milliseconds. */
  latencyMs: number | null;
}

interface MonitorOptions {
  /** As in `/health` and the log: `postgresql`, `nats`, `redis`, `replica-1`. */
  name: string;
  /** Rejects, or does not settle, when the dependency does not work. */
  check: () => Promise<unknown>;
  /** Closes what `check` keeps open between its runs. */
  release?: () => void;
  log: Logger;
  intervalMs?: number;
  timeoutMs?: number;
}

/**
 * Watches one thing that this node depends on, and writes a log line when it is lost and when it is back. A
 * dependency counts as down until its first successful check.
 */
export class DependencyMonitor {
  readonly name: string;
  #check: () => Promise<unknown>;
  #release: () => void;
  #log: Logger;
  #intervalMs: number;
  #timeoutMs: number;
  #isUp: boolean | undefined;
  #latencyMs: number | null = null;
  #problem = "not connected yet";
  #firstUp = Promise.withResolvers<void>();
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor({
    name,
    check,
    release = () => undefined,
    log,
    intervalMs = 1000,
    timeoutMs = 1000,
  }: MonitorOptions) {
    this.name = name;
    this.#check = check;
    this.#release = release;
    this.#log = log;
    this.#intervalMs = intervalMs;
    this.#timeoutMs = timeoutMs;
  }

  get isUp(): boolean {
    return this.#isUp === true;
  }

  get status(): DependencyStatus {
    return { status: this.isUp ? "up" : "down", latencyMs: this.#latencyMs };
  }

  /** Why it was down when it last was, for the operator. */
  get problem(): string {
    return this.#problem;
  }

  /** Checks once, then goes on checking in the background until {@link stop}. */
  async start(): Promise<void> {
    await this.#run();
  }

  /** Settles when the dependency is up; that may be never. */
  async untilUp(): Promise<void> {
    if (!this.isUp) await this.#firstUp.promise;
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#release();
  }

  /** For those who learn of a change sooner than the next check does. */
  report(isUp: boolean, reason?: unknown): void {
    if (!isUp && reason !== undefined) this.#problem = reasonOf(reason);
    if (this.#isStopped || isUp === this.#isUp) return;
    const wasUp = this.#isUp;
    this.#isUp = isUp;
    if (!isUp) {
      this.#latencyMs = null;
      this.#log.error({ dependency: this.name, err: reason }, "dependency lost");
    } else {
      if (wasUp === false) this.#log.info({ dependency: this.name }, "dependency back");
      this.#firstUp.resolve();
    }
  }

  async #run(): Promise<void> {
    const startedAt = performance.now();
    try {
      await within(this.#timeoutMs, this.#check(), () => {
        throw new Error(`no answer within ${this.#timeoutMs} ms`);
      });
      this.#latencyMs = Math.round((performance.now() - startedAt) * 10) / 10;
      this.report(true);
    } catch (error) {
      this.report(false, error);
    }
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#run(), this.#intervalMs);
    this.#timer.unref();
  }
}

/** Node has no message for a name with several addresses of which none takes a connection. */
function reasonOf(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException;
  return message === "" ? (code ?? "unknown") : message;
}
