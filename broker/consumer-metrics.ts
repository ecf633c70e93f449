import { Counter, Gauge, type Registry } from "prom-client";

/** The metrics of the durable consumers of a node, each by the name of the consumer. */
export class ConsumerMetrics {
  readonly #handled: Counter<"consumer">;
  readonly #failures: Counter<"consumer">;
  readonly #outages: Counter<"consumer">;
  readonly #deadLetters: Counter<"consumer">;
  readonly #lags = new Map<string, () => Promise<number>>();

  constructor(registry: Registry) {
    const counter = (name: string, help: string): Counter<"consumer"> =>
      new Counter({ name, help, labelNames: ["consumer"], registers: [registry] });
    this.#handled = counter("events_consumed_total", "Events that a durable consumer has handled");
    this.#failures = counter("events_consumer_failures_total", "Attempts of a durable consumer that failed");
    this.#outages = counter(
      "events_consumer_outages_total",
      "Attempts of a durable consumer that were put off because something was away",
    );
    this.#deadLetters = counter("events_dead_letters_total", "Events that a durable consumer gave up");
    const lags = this.#lags;
    const gauge: Gauge<"consumer"> = new Gauge({
      name: "events_consumer_lag",
      help: "Events that wait for a durable consumer",
      labelNames: ["consumer"],
      registers: [registry],
      async collect() {
        // What cannot be asked for has no value, rather than the one of before.
        gauge.reset();
        await Promise.all(
          [...lags].map(async ([consumer, lag]) => {
            const value = await lag().catch(() => undefined);
            if (value !== undefined) gauge.set({ consumer }, value);
          }),
        );
      },
    });
  }

  /**
   * Shows a consumer from now on, from zero: Prometheus sees a first count only as an increase.
   *
   * @param lag how many events wait for it; asked when Prometheus asks
   */
  watch(consumer: string, lag: () => Promise<number>): void {
    const counters = [this.#handled, this.#failures, this.#outages, this.#deadLetters];
    for (const counter of counters) counter.inc({ consumer }, 0);
    this.#lags.set(consumer, lag);
  }

  countHandled(consumer: string): void {
    this.#handled.inc({ consumer });
  }

  countFailure(consumer: string): void {
    this.#failures.inc({ consumer });
  }

  countOutage(consumer: string): void {
    this.#outages.inc({ consumer });
  }

  countDeadLetter(consumer: string): void {
    this.#deadLetters.inc({ consumer });
  }
}
