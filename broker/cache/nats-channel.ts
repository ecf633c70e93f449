import { Events, type NatsConnection } from "nats";
import { BEAT_INTERVAL_MS, type Span } from "./coverage.ts";
import { NATS_SUBJECT } from "./messages.ts";

interface ChannelOptions {
  connection: NatsConnection;
  onMessage: (text: string) => void;
  /** After every change of the span. */
  onSpan: () => void;
}

/**
 * What other nodes say through NATS: a subject of its own rather than an event of Moleculer, which goes only to the nodes
 * that the sender knows at that moment. NATS answers a flush after everything that it has sent before.
 */
export class NatsChannel {
  readonly span: Span = { from: Infinity, until: -Infinity };
  readonly #options: ChannelOptions;
  #timer: NodeJS.Timeout | undefined;
  /** Counts the times that the connection was lost. */
  #losses = 0;
  #isFlushing = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  start(): void {
    const { connection, onMessage } = this.#options;
    connection.subscribe(NATS_SUBJECT, {
      callback: (error, message) => {
        if (!error) onMessage(message.string());
      },
    });
    void this.#watch();
    void this.#beat();
    this.#timer = setInterval(() => void this.#beat(), BEAT_INTERVAL_MS);
    this.#timer.unref();
  }

  /** Does not fail: while NATS is away, the connection keeps it and sends it later. */
  send(text: string): void {
    const { connection } = this.#options;
    if (!connection.isClosed() && !connection.isDraining()) connection.publish(NATS_SUBJECT, text);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #watch(): Promise<void> {
    for await (const { type } of this.#options.connection.status()) {
      if (type !== Events.Disconnect) continue;
      this.#losses += 1;
      this.span.from = Infinity;
    }
  }

  async #beat(): Promise<void> {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    const losses = this.#losses;
    const startedAt = performance.now();
    const isAnswered = await this.#options.connection.flush().then(
      () => true,
      () => false,
    );
    this.#isFlushing = false;
    if (!isAnswered || losses !== this.#losses) return;
    const { span } = this;
    // The subscription is known to exist from the answer on, not from the question.
    if (span.from === Infinity) span.from = span.until = performance.now();
    else span.until = startedAt;
    this.#options.onSpan();
  }
}
