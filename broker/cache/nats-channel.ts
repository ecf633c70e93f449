import { Events, type NatsConnection } from "nats";
import { BEAT_INTERVAL_MS, type Span } from "./coverage.ts";
import { encodeMessage, NATS_SUBJECT, type Invalidation } from "./messages.ts";
import { Unconfirmed } from "./unconfirmed.ts";

interface ChannelOptions {
  connection: NatsConnection;
  onMessage: (text: string) => void;
  /** After every change of the span. */
  onSpan: () => void;
}

/**
 * What other nodes say through NATS: a subject of its own rather than an event of Moleculer, which goes only to the nodes
 * that the sender knows at that moment. NATS answers a flush after everything that it has sent before, and has got
 * everything that was published before. The rest may be lost with a connection, and is said again on the next one.
 */
export class NatsChannel {
  readonly span: Span = { from: Infinity, until: -Infinity };
  readonly #options: ChannelOptions;
  #timer: NodeJS.Timeout | undefined;
  readonly #unconfirmed = new Unconfirmed();
  /** Counts the times that the connection was lost, or was there again. */
  #turns = 0;
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

  /** Does not fail: what is said while NATS is away is said when it is back. */
  send(message: Invalidation): void {
    this.#unconfirmed.add(message);
    this.#publish(message);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #watch(): Promise<void> {
    let isLost = false;
    for await (const { type } of this.#options.connection.status()) {
      if (type === Events.Disconnect) {
        isLost = true;
        this.#turns += 1;
        this.span.from = Infinity;
      } else if (type === Events.Reconnect && isLost) {
        // Once, as in `natsLinkMiddleware`.
        isLost = false;
        this.#turns += 1;
        for (const message of this.#unconfirmed.messages) this.#publish(message);
      }
    }
  }

  #publish(message: Invalidation): void {
    const { connection } = this.#options;
    if (connection.isClosed() || connection.isDraining()) return;
    connection.publish(NATS_SUBJECT, encodeMessage(message));
  }

  async #beat(): Promise<void> {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    const turns = this.#turns;
    const said = this.#unconfirmed.last;
    const startedAt = performance.now();
    const isAnswered = await this.#options.connection.flush().then(
      () => true,
      () => false,
    );
    this.#isFlushing = false;
    if (!isAnswered || turns !== this.#turns) return;
    this.#unconfirmed.confirm(said);
    const { span } = this;
    // The subscription is known to exist from the answer on, not from the question.
    if (span.from === Infinity) span.from = span.until = performance.now();
    else span.until = startedAt;
    this.#options.onSpan();
  }
}
