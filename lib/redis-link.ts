import { once } from "node:events";
import { Redis } from "ioredis";
import type { Logger } from "pino";

const RECONNECT_DELAY_MS = 500;

/**
 * The connection of a node to Redis, which nothing may depend on: what cannot be had from it in time is done without.
 * After a failure no command is sent until {@link ping} has found Redis again, so that only the first requests after a
 * loss wait for it, and none for longer than the time-out.
 */
export class RedisLink {
  readonly client: Redis;
  readonly #timeoutMs: number;
  readonly #log: Logger;
  #isUsable = false;

  constructor(url: string, { timeoutMs, log }: { timeoutMs: number; log: Logger }) {
    this.#timeoutMs = timeoutMs;
    this.#log = log;
    this.client = new Redis(url, {
      // Commands fail at once while Redis is away, instead of waiting in line for it.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
      connectTimeout: 1000,
      retryStrategy: () => RECONNECT_DELAY_MS,
    });
    this.client.on("ready", () => (this.#isUsable = true));
    // Every attempt to reconnect fails with one; the dependency monitor logs the loss once.
    this.client.on("error", () => (this.#isUsable = false));
  }

  /** False from a failure on until Redis has been found again. */
  get isUsable(): boolean {
    return this.#isUsable;
  }

  /** Rejects when Redis does not answer in time; otherwise it is used (again) from here on. */
  async ping(): Promise<void> {
    try {
      // At its start a node looks before it can be connected, which is no loss.
      const { status } = this.client;
      if (status === "connecting" || status === "connect") await once(this.client, "ready");
      await this.#inTime(this.client.ping());
      this.#isUsable = true;
    } catch (error) {
      this.#isUsable = false;
      throw error;
    }
  }

  /** Runs commands and never rejects: undefined when Redis is away, fails, or does not answer in time. */
  async attempt<T>(commands: (client: Redis) => Promise<T>): Promise<T | undefined> {
    if (!this.#isUsable) return undefined;
    try {
      return await this.#inTime(commands(this.client));
    } catch (error) {
      // A lost connection is logged by the monitor, to which a Redis that has no memory left looks well.
      if (this.#isUsable && this.client.status === "ready") {
        this.#log.warn({ err: error }, "Redis is not used for now: a command has failed");
      }
      this.#isUsable = false;
      return undefined;
    }
  }

  /** Does not wait for a Redis that may not answer. */
  close(): void {
    this.#isUsable = false;
    this.client.disconnect();
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const expire = (): void => reject(new Error(`Redis has not answered within ${this.#timeoutMs} ms.`));
      // After the sockets were read once more: on a busy event loop the answer may have been there in time.
      const timer = setTimeout(() => setImmediate(expire), this.#timeoutMs);
      answer.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
}
