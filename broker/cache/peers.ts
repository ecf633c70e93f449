import type { NatsConnection } from "nats";
import type { Logger } from "pino";
import type { RedisLink } from "../../lib/redis-link.ts";
import { Coverage } from "./coverage.ts";
import { decodeMessage, type Invalidation } from "./messages.ts";
import { NatsChannel } from "./nats-channel.ts";
import { RedisChannel } from "./redis-channel.ts";

interface PeersOptions {
  nodeId: string;
  redis: RedisLink | undefined;
  log: Pick<Logger, "debug">;
  /** Another node has changed something. */
  onInvalidation: (message: Invalidation) => void;
  /** Something that another node has said may have been missed. */
  onGap: () => void;
}

/** The caches of the other nodes: what they say is out of date, by every channel that there is. */
export class Peers {
  readonly #options: PeersOptions;
  readonly #coverage: Coverage;
  readonly #redisChannel: RedisChannel | undefined;
  #natsChannel: NatsChannel | undefined;

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#coverage = new Coverage(() => options.onGap());
    if (!options.redis) return;
    this.#redisChannel = new RedisChannel({
      client: options.redis.client,
      log: options.log,
      ...this.#listeners(),
    });
    this.#coverage.add(this.#redisChannel.span);
  }

  /** Whether everything has been heard that was said until a moment ago. */
  get isHeard(): boolean {
    return this.#coverage.isCurrent;
  }

  /** @param nats of the broker, if it has one */
  start(nats: NatsConnection | null): void {
    this.#redisChannel?.start();
    if (!nats) return;
    this.#natsChannel = new NatsChannel({ connection: nats, ...this.#listeners() });
    this.#coverage.add(this.#natsChannel.span);
    this.#natsChannel.start();
  }

  /** Tells those who do not hear of it from Redis, which tells of what is written to it by itself. */
  tell(message: Omit<Invalidation, "node">): void {
    this.#natsChannel?.send({ node: this.#options.nodeId, ...message });
  }

  stop(): void {
    this.#redisChannel?.stop();
    this.#natsChannel?.stop();
  }

  #listeners(): { onMessage: (text: string) => void; onSpan: () => void } {
    const { nodeId, onInvalidation } = this.#options;
    return {
      onMessage: (text) => {
        const message = decodeMessage(text);
        if (message && message.node !== nodeId) onInvalidation(message);
      },
      onSpan: () => this.#coverage.update(),
    };
  }
}
