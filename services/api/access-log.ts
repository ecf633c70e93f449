import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import type { NodeMetrics } from "../../broker/metrics.ts";
import { pathOf } from "./respond.ts";

/** The client left before there was an answer: no status of HTTP, but what nginx made common in logs. */
const CLIENT_CLOSED_REQUEST = 499;

/**
 * Middleware that writes one line for each request when it is done, 5xx as errors, the others at info level, and counts
 * it in the metrics.
 */
export function accessLog(log: Logger, metrics: NodeMetrics | undefined) {
  return function logRequest(request: IncomingMessage, response: ServerResponse, next: () => void): void {
    const startedAt = performance.now();
    response.once("close", () => {
      const durationMs = performance.now() - startedAt;
      // Without an answer, Node has 200 there.
      const status = response.headersSent ? response.statusCode : CLIENT_CLOSED_REQUEST;
      metrics?.observeHttp(
        { method: request.method ?? "", route: routeOf(request), status },
        durationMs / 1000,
      );
      const line = {
        requestId: response.getHeader("X-Request-Id"),
        method: request.method,
        path: pathOf(request),
        status,
        durationMs: Math.round(durationMs * 10) / 10,
        // The client left before it had the whole answer.
        ...(!response.writableFinished && { aborted: true }),
      };
      if (status >= 500) log.error(line, "request failed");
      else log.info(line, "request");
    });
    next();
  };
}

/** The pattern of the path: paths themselves would be without number. */
function routeOf(request: IncomingMessage): string {
  return (request as { $alias?: { fullPath: string } }).$alias?.fullPath ?? "unmatched";
}
