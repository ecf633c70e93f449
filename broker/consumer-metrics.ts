import { Counter, type Registry } from "prom-client";
import { showMetric, type Sample } from "./shown-metrics.ts";

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
    showMetric(registry, {
      name: "events_consumer_lag",
      help: "Events that wait for a durable consumer",
      type: "gauge",
      look: () => this.#readLags(),
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

  /** Of those that can be asked. */
  async #readLags(): Promise<Sample[]> {
    const samples = [...this.#lags].map(async ([consumer, lag]) => ({
      labels: { consumer },
      value: await lag(),
    }));
    const read = await Promise.allSettled(samples);
    return read.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  }
}
