import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { giveUpWhenSilent } from "../../lib/redis-link.ts";
import { BEAT_INTERVAL_MS, type Span } from "./coverage.ts";
import { REDIS_CHANNEL } from "./messages.ts";

interface ChannelOptions {
  /** The connection that the one of the channel is made like. */
  client: Redis;
  onMessage: (text: string) => void;
  /** After every change of the span. */
  onSpan: () => void;
  log: Pick<Logger, "debug">;
}

/**
 * What other nodes say through Redis. It has a connection of its own, as one that subscribes can do nothing else. Redis
 * answers a ping on it after everything that was published before, so an answer covers the time until the ping.
 */
export class RedisChannel {
  readonly span: Span = { from: Infinity, until: -Infinity };
  readonly #client: Redis;
  readonly #options: ChannelOptions;
  #timer: NodeJS.Timeout | undefined;
  #pingedAt: number | undefined;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#client = options.client.duplicate({ autoResubscribe: false });
    this.#client.on("error", (error) => options.log.debug({ err: error }, "channel of the cache"));
    this.#client.on("ready", () => void this.#subscribe());
    this.#client.on("close", () => {
      this.span.from = Infinity;
      this.#pingedAt = undefined;
    });
    this.#client.on("message", (_channel, text) => options.onMessage(text));
  }

  start(): void {
    this.#timer = setInterval(() => void this.#beat(), BEAT_INTERVAL_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#client.disconnect();
  }

  async #subscribe(): Promise<void> {
    try {
      await giveUpWhenSilent(this.#client, this.#client.subscribe(REDIS_CHANNEL));
      this.#cover(performance.now());
    } catch (error) {
      this.#options.log.debug({ err: error }, "no channel of the cache");
      this.#client.disconnect(true);
    }
  }

  async #beat(): Promise<void> {
    if (this.#pingedAt !== undefined || this.span.from === Infinity) return;
    const now = performance.now();
    this.#pingedAt = now;
    try {
      await giveUpWhenSilent(this.#client, this.#client.ping());
      // Else the connection was lost meanwhile, and perhaps made again.
      if (this.#pingedAt === now) this.#cover(now);
    } catch (error) {
      this.#options.log.debug({ err: error }, "no answer on the channel of the cache");
    }
    this.#pingedAt = undefined;
  }

  #cover(until: number): void {
    if (this.span.from === Infinity) this.span.from = until;
    this.span.until = until;
    this.#options.onSpan();
  }
}
