import { createRequire } from "node:module";
import type { Middleware } from "moleculer";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { PoolUsage } from "../lib/database.ts";
import { actionMiddleware } from "./action-middleware.ts";
import { ConsumerMetrics } from "./consumer-metrics.ts";
import { HttpMetrics } from "./http-metrics.ts";
import { showMetric } from "./shown-metrics.ts";

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

/**
 * Milliseconds: moleculer-prometheus leaves Prometheus' own buckets, which are meant for seconds. Each of them is a line
 * for every combination of labels, so there are no more than it takes to tell an answer from a slow one.
 */
const DURATION_BUCKETS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 1000, 5000];
const DURATION_BUCKETS_S = DURATION_BUCKETS_MS.map((ms) => ms / 1000);

/** Sums of the gauges of the same name without `_total`, which Prometheus expects of counters only. */
const MISNAMED = [
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  "nodejs_active_resources_total",
];

/** The metrics of a node, in Prometheus' terms. */
export class NodeMetrics {
  readonly registry = new Registry();
  readonly consumers = new ConsumerMetrics(this.registry);
  readonly http = new HttpMetrics(this.registry, DURATION_BUCKETS_S);
  /** Those of moleculer-prometheus, by name. */
  readonly moleculer: Readonly<Record<string, Counter | Gauge | Histogram>>;
  readonly #nodeId: string;

  constructor(nodeId: string) {
    this.#nodeId = nodeId;
    const registers = [this.registry];
    this.moleculer = Object.fromEntries(
      Object.entries(moleculerPrometheus.settings.metrics).map(([name, definition]) => [
        name,
        create(name, definition, registers),
      ]),
    );
    // Process, event loop and garbage collection.
    collectDefaultMetrics({ register: this.registry });
    for (const name of MISNAMED) this.registry.removeSingleMetric(name);
  }

  /** Shows the pools of connections to database servers. */
  watchPools(usage: () => readonly PoolUsage[]): void {
    showMetric(this.registry, {
      name: "database_pool_connections",
      help: "Connections of the pool to a database server",
      type: "gauge",
      look: () =>
        usage().flatMap(({ server, inUse, idle }) => [
          { labels: { server, state: "in_use" }, value: inUse },
          { labels: { server, state: "idle" }, value: idle },
        ]),
    });
    showMetric(this.registry, {
      name: "database_pool_waiting_requests",
      help: "Requests that wait for a connection of the pool",
      type: "gauge",
      look: () => usage().map(({ server, waiting }) => ({ labels: { server }, value: waiting })),
    });
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
        // From zero on, since Prometheus sees a first call only as an increase.
        count.inc(labels, 0);
        duration.zero(labels);
        return async (ctx) => {
          const startedAt = performance.now();
          try {
            return await next(ctx);
          } catch (error) {
            errors.inc({ ...labels, ...errorLabels(error) });
            throw error;
          } finally {
            count.inc(labels);
            duration.observe(labels, performance.now() - startedAt);
          }
        };
      }),
    };
  }
}

/** What an error does not have is empty, which is to Prometheus as if there were no such label. */
function errorLabels(error: unknown): { errorCode: string; errorName: string; errorType: string } {
  const {
    code = "",
    name = "",
    type = "",
  } = error as { code?: string | number; name?: string; type?: string };
  return { errorCode: String(code), errorName: name, errorType: type };
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
