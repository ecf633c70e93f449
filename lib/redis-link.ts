import { once } from "node:events";
import { TLSSocket } from "node:tls";
import { Redis } from "ioredis";
import type { Logger } from "pino";
import { atMostEvery, within } from "./waiting.ts";

const RECONNECT_DELAY_MS = 500;

/** An answer that takes longer than this share of the time-out is slow. */
const SLOW_SHARE = 1 / 4;
/** When all answers have been slow for so long, it is Redis that is late, and not this process that was busy. */
const LATE_AFTER_MS = 100;

/** A connection on which Redis has not answered for so long is given up, and another one opened. */
const SILENCE_LIMIT_MS = 5000;

/** A Redis that comes and goes is not to fill the log. */
const WARNING_INTERVAL_MS = 10_000;

/** Gives an answer of Redis, or rejects when it does not come in time. */
export type InTime = <T>(answer: Promise<T>) => Promise<T>;

/**
 * The connection of a node to Redis, which nothing may depend on: what cannot be had from it in time is done without.
 * After a failure no command is sent until {@link ping} has found Redis again, so that only the first requests after a
 * loss wait for it, and none for longer than the time-out.
 */
export class RedisLink {
  readonly client: Redis;
  readonly #timeoutMs: number;
  readonly #warn: (error: unknown) => void;
  readonly #preparations: ((inTime: InTime) => Promise<void>)[] = [];
  #isUsable = false;
  /** When the first of the slow answers came after which there was no quick one. */
  #slowSince = Infinity;
  #isLate = false;
  #serverId = "";
  #resuming: Promise<void> | undefined;

  constructor(url: string, { timeoutMs, log }: { timeoutMs: number; log: Logger }) {
    this.#timeoutMs = timeoutMs;
    this.#warn = atMostEvery(WARNING_INTERVAL_MS, (error) =>
      log.warn({ err: error }, "Redis is not used for now: a command has failed"),
    );
    this.client = new Redis(url, {
      // Commands fail at once while Redis is away, instead of waiting in line for it.
      enableOfflineQueue: false,
      // Else what was sent to a server that died is sent to the next, when it may be out of date.
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 1,
      // What else is asked before a connection is ready would be waited for without a limit; `ping` asks all the same.
      enableReadyCheck: false,
      disableClientInfo: true,
      connectTimeout: 1000,
      retryStrategy: () => RECONNECT_DELAY_MS,
    });
    this.client.on("ready", () => void this.ping().catch(() => undefined));
    // Every attempt to reconnect fails with one; the dependency monitor logs the loss once.
    this.client.on("error", () => (this.#isUsable = false));
    this.client.on("close", () => {
      this.#isUsable = false;
      this.#serverId = "";
    });
  }

  /** False from a failure on until Redis has been found again. */
  get isUsable(): boolean {
    return this.#isUsable;
  }

  /**
   * Whether Redis answers, but so slowly that what can be had elsewhere is better had there. A request that asks it more
   * than once would wait for longer than the time-out.
   */
  get isLate(): boolean {
    return this.#isLate;
  }

  /** Of the process that is connected: another one after a restart, and after a hand-over to a replica. */
  get serverId(): string {
    return this.#serverId;
  }

  /** Has something done each time before Redis is used (again) after a failure; it is not used while that fails. */
  beforeUse(prepare: (inTime: InTime) => Promise<void>): void {
    this.#preparations.push(prepare);
  }

  /** Rejects when Redis does not answer in time; otherwise it is used (again) from here on. */
  async ping(): Promise<void> {
    try {
      // At its start a node looks before it can be connected, which is no loss.
      const { status } = this.client;
      if (status === "connecting" || status === "connect") await once(this.client, "ready");
      await this.#timed(giveUpWhenSilent(this.client, this.client.ping()));
      if (!this.#isUsable)
        await (this.#resuming ??= this.#resume().finally(() => (this.#resuming = undefined)));
    } catch (error) {
      this.#isUsable = false;
      throw error;
    }
  }

  /** Runs commands and never rejects: undefined when Redis is away, fails, or does not answer in time. */
  async attempt<T>(commands: (client: Redis) => Promise<T>): Promise<T | undefined> {
    if (!this.#isUsable) return undefined;
    try {
      return await this.#timed(commands(this.client));
    } catch (error) {
      // A lost connection is logged by the monitor, to which a Redis that has no memory left looks well.
      if (this.#isUsable && this.client.status === "ready") this.#warn(error);
      this.#isUsable = false;
      return undefined;
    }
  }

  /** Does not wait for a Redis that may not answer. */
  close(): void {
    this.#isUsable = false;
    this.client.disconnect();
  }

  async #resume(): Promise<void> {
    const { stream } = this.client;
    const info = await this.#inTime(this.client.info("server"));
    const id = /^run_id:(\w+)/m.exec(info)?.[1];
    if (id === undefined) throw new Error("Redis does not say which server it is.");
    this.#serverId = id;
    for (const prepare of this.#preparations) await prepare((answer) => this.#inTime(answer));
    // The connection may have been lost meanwhile, and the next one be to another server.
    if (this.client.stream !== stream || this.client.status !== "ready")
      throw new Error("The connection was lost.");
    this.#isUsable = true;
  }

  /** The answer in time, whose duration says whether Redis is late. */
  async #timed<T>(answer: Promise<T>): Promise<T> {
    const startedAt = performance.now();
    const inTime = await this.#inTime(answer);
    const now = performance.now();
    this.#slowSince =
      now - startedAt > this.#timeoutMs * SLOW_SHARE ? Math.min(this.#slowSince, now) : Infinity;
    this.#isLate = now - this.#slowSince >= LATE_AFTER_MS;
    return inTime;
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    return within(this.#timeoutMs, answer, () => {
      throw new Error(`Redis has not answered within ${this.#timeoutMs} ms.`);
    });
  }
}

/**
 * Gives a connection up, for another one, unless an answer comes on it, however late: a host that is gone ends no
 * connection, and the kernel takes a quarter of an hour to do so. ioredis' `socketTimeout` would also end the connection
 * after it.
 *
 * @returns the answer
 */
export function giveUpWhenSilent<T>(client: Redis, answer: Promise<T>): Promise<T> {
  const { stream } = client;
  const giveUp = (): void => {
    if (client.stream !== stream) return;
    if (stream instanceof TLSSocket) stream.destroy();
    // Without what is still to be sent, which Redis could otherwise get when it is out of date. TLS cannot be reset.
    else stream.resetAndDestroy();
  };
  within(SILENCE_LIMIT_MS, answer, giveUp).catch(() => undefined);
  return answer;
}
