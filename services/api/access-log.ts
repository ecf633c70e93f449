import type { ServerResponse } from "node:http";
import type { Logger } from "pino";
import type { NodeMetrics } from "../../broker/metrics.ts";
import type { GatewayRequest } from "./gateway-request.ts";
import { pathOf } from "./respond.ts";

/** The client left before there was an answer: no status of HTTP, but what nginx made common in logs. */
const CLIENT_CLOSED_REQUEST = 499;

export interface AccessLogParts {
  log: Logger;
  metrics: NodeMetrics | undefined;
}

/**
 * Makes a function that writes one line for a request when it is done, 5xx as errors, the others at info level, and
 * counts it in the metrics. That the node is not ready is no error of a probe that asks.
 */
export function accessLog({ log, metrics }: AccessLogParts) {
  return function logWhenDone(request: GatewayRequest, response: ServerResponse): void {
    const startedAt = performance.now();
    response.on("close", () => {
      const durationMs = performance.now() - startedAt;
      // Without an answer, Node has 200 there.
      const status = response.headersSent ? response.statusCode : CLIENT_CLOSED_REQUEST;
      metrics?.http.observe(
        { method: request.method ?? "", route: request.route, status },
        durationMs / 1000,
      );
      const hasFailed = status >= 500 && !request.url.startsWith("/health");
      const level = hasFailed ? "error" : "info";
      if (!log.isLevelEnabled(level)) return;
      const line = {
        requestId: request.id,
        method: request.method,
        path: pathOf(request),
        status,
        durationMs: Math.round(durationMs * 10) / 10,
        // The client left before it had the whole answer.
        ...(!response.writableFinished && { aborted: true }),
      };
      log[level](line, hasFailed ? "request failed" : "request");
    });
  };
}
