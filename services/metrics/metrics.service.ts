import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Service } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { moleculerPrometheus, type NodeMetrics } from "../../broker/metrics.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import { healthOf, overallStatus, type HealthReport, type OverallStatus } from "../../lib/health.ts";
import { createHttpServer, drain, listen } from "../../lib/http-server.ts";

/*
 * Serves what Prometheus and an orchestrator ask of a node, on a port of its own: `/metrics`, `/health/live` and
 * `/health/ready`. The topology is read from the registry when it is asked for, with moleculer-prometheus' own method;
 * its life cycle is not used, since with this version of Moleculer it shows no requests.
 */

type Reused = typeof moleculerPrometheus.methods;

interface Methods extends Reused {
  answer(request: IncomingMessage, response: ServerResponse): Promise<void>;
  statusOf(dependencies: HealthReport): OverallStatus | "draining" | "starting";
  renderMetrics(): Promise<string>;
  readMetrics(): Promise<string>;
}

interface Variables {
  server: Server;
  metrics: NodeMetrics["moleculer"];
  /** The scrape that is under way. */
  rendering: Promise<string> | undefined;
}

type MetricsService = Service<object> & Methods & Variables;

/** Gauges whose labels name nodes, actions and services: what is gone must not be shown for ever. */
const TOPOLOGY = [
  "moleculer_nodes",
  "moleculer_action_endpoints_total",
  "moleculer_service_endpoints_total",
  "moleculer_event_endpoints_total",
];

/** How long a stop waits for answers under way. */
const STOP_TIMEOUT_MS = 1000;

export function createMetricsService(
  node: Node,
  metrics: NodeMetrics,
  port: number,
): AppServiceSchema<object, Methods, Variables> {
  return {
    name: "metrics",

    methods: {
      updateCommonValues: moleculerPrometheus.methods.updateCommonValues,
      /** A service without a version has no such label. */
      update(this: MetricsService, name: string, method: string, labels: object | null, value: number) {
        const known =
          labels && Object.fromEntries(Object.entries(labels).filter(([, text]) => text !== undefined));
        moleculerPrometheus.methods.update.call(this, name, method, known, value);
      },

      async answer(this: MetricsService, request: IncomingMessage, response: ServerResponse) {
        if (request.method !== "GET" && request.method !== "HEAD") {
          response.setHeader("Allow", "GET, HEAD");
          return sendJson(response, 405, { status: "method not allowed" });
        }
        const [path = ""] = (request.url ?? "").split("?");
        switch (path) {
          case "/metrics":
            return send(response, 200, metrics.registry.contentType, await this.renderMetrics());
          case "/health/live":
            return sendJson(response, 200, { status: "up" });
          case "/health/ready": {
            const dependencies = healthOf(node.monitors);
            const status = this.statusOf(dependencies);
            const isReady = status === "up" || status === "degraded";
            return sendJson(response, isReady ? 200 : 503, { status, dependencies });
          }
          default:
            return sendJson(response, 404, { status: "not found" });
        }
      },

      statusOf(this: MetricsService, dependencies: HealthReport) {
        if (node.isStopping()) return "draining";
        return this.broker.started ? overallStatus(dependencies) : "starting";
      },

      /** Those who ask together share one answer: one's reset must not fall between another's update and reading. */
      renderMetrics(this: MetricsService) {
        this.rendering ??= this.readMetrics().finally(() => (this.rendering = undefined));
        return this.rendering;
      },

      async readMetrics(this: MetricsService) {
        for (const name of TOPOLOGY) this.metrics[name]?.reset();
        await this.updateCommonValues();
        return metrics.registry.metrics();
      },
    },

    created() {
      this.metrics = metrics.moleculer;
      this.server = createHttpServer((request, response) => {
        this.answer(request, response).catch((error: unknown) => {
          node.log.error({ err: error }, "a scrape failed");
          sendJson(response, 500, { status: "failed" });
        });
      });
    },

    async started() {
      await listen(this.server, node.config.HOST, { name: "METRICS_PORT", port });
      node.log.info({ port: (this.server.address() as AddressInfo).port }, "metrics are served");
    },

    async stopped() {
      await drain(this.server, 0, STOP_TIMEOUT_MS);
    },
  };
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  send(response, status, "application/json", JSON.stringify(body));
}

function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, { "Content-Type": contentType, "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}
