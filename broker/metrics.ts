import { createRequire } from "node:module";
import type { Middleware } from "moleculer";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { PoolUsage } from "../lib/database.ts";
import { actionMiddleware } from "./action-middleware.ts";

/** A definition of moleculer-prometheus. */
interface Definition {
  type: "Counter" | "Gauge" | "Histogram";
  help: string;
  labelNames?: string[];
}

/** What is used of moleculer-prometheus, which has no types. */
interface MoleculerPrometheus {
  settings: { metrics: Readonly<Record<string, Definition>> };
  /** With `this.broker` and `this.metrics`. */
  methods: {
    /** Reads nodes, services, actions and events from the registry into the gauges. */
    updateCommonValues: () => Promise<void>;
    update: (name: string, method: string, labels: object | null, value: number) => void;
  };
}

export const moleculerPrometheus = createRequire(import.meta.url)(
  "moleculer-prometheus",
) as MoleculerPrometheus;

/** Milliseconds: moleculer-prometheus leaves Prometheus' own buckets, which are meant for seconds. */
const DURATION_BUCKETS_MS = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const DURATION_BUCKETS_S = DURATION_BUCKETS_MS.map((ms) => ms / 1000);

/** The metrics of a node, in Prometheus' terms. */
export class NodeMetrics {
  readonly registry = new Registry();
  /** Those of moleculer-prometheus, by name. */
  readonly moleculer: Readonly<Record<string, Counter | Gauge | Histogram>>;
  readonly #nodeId: string;
  readonly #httpRequests: Counter<"method" | "route" | "status">;
  readonly #httpDuration: Histogram<"method" | "route" | "status">;

  constructor(nodeId: string) {
    this.#nodeId = nodeId;
    const registers = [this.registry];
    this.moleculer = Object.fromEntries(
      Object.entries(moleculerPrometheus.settings.metrics).map(([name, definition]) => [
        name,
        create(name, definition, registers),
      ]),
    );
    const labelNames = ["method", "route", "status"] as const;
    this.#httpRequests = new Counter({
      name: "http_requests_total",
      help: "HTTP requests",
      labelNames,
      registers,
    });
    this.#httpDuration = new Histogram({
      name: "http_request_duration_seconds",
      help: "Duration of HTTP requests",
      labelNames,
      buckets: DURATION_BUCKETS_S,
      registers,
    });
    // Process, event loop and garbage collection.
    collectDefaultMetrics({ register: this.registry });
  }

  /** Counts a request when it is answered. `route` is a pattern such as `/api/v1/users/:id`, never a path. */
  observeHttp(labels: { method: string; route: string; status: number }, durationSeconds: number): void {
    this.#httpRequests.inc(labels);
    this.#httpDuration.observe(labels, durationSeconds);
  }

  /** Shows the pools; they are looked at when Prometheus asks. */
  watchPools(usage: () => readonly PoolUsage[]): void {
    const gauge: Gauge = new Gauge({
      name: "database_pool_connections",
      help: "Connections of the pool to a database server, and requests that wait for one",
      labelNames: ["server", "state"],
      collect() {
        for (const { server, inUse, idle, waiting } of usage()) {
          gauge.set({ server, state: "in_use" }, inUse);
          gauge.set({ server, state: "idle" }, idle);
          gauge.set({ server, state: "waiting" }, waiting);
        }
      },
      registers: [],
    });
    this.registry.registerMetric(gauge);
  }

  /** Counts the calls of actions that run on this node, and how long they took. */
  middleware(): Middleware {
    const count = this.moleculer["moleculer_req_total"] as Counter;
    const errors = this.moleculer["moleculer_req_errors_total"] as Counter;
    const duration = this.moleculer["moleculer_req_duration_ms"] as Histogram;
    return {
      name: "Metrics",
      localAction: actionMiddleware((next, action) => {
        // Moleculer's own actions, which each scrape calls, are none of the product's.
        if (action.visibility === "private" || action.name?.startsWith("$")) return next;
        const labels = {
          action: action.name ?? "",
          service: action.service?.fullName ?? "",
          nodeID: this.#nodeId,
        };
        // Resolved once: looking labels up costs more than counting.
        const [counted, observed] = [count.labels(labels), duration.labels(labels)];
        return async (ctx) => {
          const startedAt = performance.now();
          try {
            return await next(ctx);
          } catch (error) {
            const { code, name, type } = error as { code?: unknown; name?: string; type?: string };
            errors.inc({ ...labels, errorCode: String(code), errorName: name ?? "", errorType: type ?? "" });
            throw error;
          } finally {
            counted.inc();
            observed.observe(performance.now() - startedAt);
          }
        };
      }),
    };
  }
}

const CONSTRUCTORS = { Counter, Gauge, Histogram };

function create(
  name: string,
  { type, help, labelNames = [] }: Definition,
  registers: Registry[],
): Counter | Gauge | Histogram {
  // Only histograms have buckets; the others leave them aside.
  return new CONSTRUCTORS[type]({ name, help, labelNames, registers, buckets: DURATION_BUCKETS_MS });
}
