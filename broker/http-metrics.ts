import type { Registry } from "prom-client";
import { DurationHistogram } from "./duration-histogram.ts";
import { showMetric, type Sample } from "./shown-metrics.ts";

/** Node's parser knows thirty more, which any client could make a line of. */
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

const DURATION = "http_request_duration_seconds";

export interface AnsweredRequest {
  method: string;
  route: string;
  status: number;
}

/** What was counted of the requests of one route and method. */
interface Counted {
  readonly labels: { method: string; route: string };
  readonly byStatus: Map<number, number>;
  readonly durations: DurationHistogram;
}

/** Counts HTTP requests by route, method and status. */
export class HttpMetrics {
  readonly #boundsS: readonly number[];
  /** By route, then by method. */
  readonly #counted = new Map<string, Map<string, Counted>>();

  /** @param boundsS of the buckets of durations, in seconds */
  constructor(registry: Registry, boundsS: readonly number[]) {
    this.#boundsS = boundsS;
    showMetric(registry, {
      name: "http_requests_total",
      help: "HTTP requests",
      type: "counter",
      look: () => this.#all().flatMap(requestsOf),
    });
    showMetric(registry, {
      name: DURATION,
      help: "Duration of HTTP requests",
      type: "histogram",
      // Not by status: a dozen lines for each status of each route are more than a scrape should have.
      look: () => this.#all().flatMap(({ labels, durations }) => durations.samples(DURATION, labels)),
    });
  }

  /** Counts a request when it is answered. `route` is a pattern such as `/api/v1/users/:id`, never a path. */
  observe({ method, route, status }: AnsweredRequest, durationSeconds: number): void {
    const { byStatus, durations } = this.#of(METHODS.has(method) ? method : "other", route);
    byStatus.set(status, (byStatus.get(status) ?? 0) + 1);
    durations.observe(durationSeconds);
  }

  #of(method: string, route: string): Counted {
    const known = this.#counted.get(route)?.get(method);
    if (known) return known;
    const labels = { method, route };
    const counted: Counted = {
      labels,
      byStatus: new Map(),
      durations: new DurationHistogram(this.#boundsS),
    };
    const ofRoute = this.#counted.get(route) ?? new Map<string, Counted>();
    this.#counted.set(route, ofRoute.set(method, counted));
    return counted;
  }

  #all(): Counted[] {
    return [...this.#counted.values()].flatMap((ofRoute) => Array.from(ofRoute.values()));
  }
}

function requestsOf({ labels, byStatus }: Counted): Sample[] {
  return [...byStatus].map(([status, value]) => ({ labels: { ...labels, status }, value }));
}
