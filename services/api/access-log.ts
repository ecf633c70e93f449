import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { pathOf } from "./respond.ts";

/** Middleware that writes one line for each request when it is done: 5xx as errors, the others at info level. */
export function accessLog(log: Logger) {
  return function logRequest(request: IncomingMessage, response: ServerResponse, next: () => void): void {
    const startedAt = performance.now();
    response.once("close", () => {
      const line = {
        requestId: response.getHeader("X-Request-Id"),
        method: request.method,
        path: pathOf(request),
        status: response.statusCode,
        durationMs: Math.round((performance.now() - startedAt) * 10) / 10,
        // The client left before it had the whole answer.
        ...(!response.writableFinished && { aborted: true }),
      };
      if (response.statusCode >= 500) log.error(line, "request failed");
      else log.info(line, "request");
    });
    next();
  };
}
