import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import type { Health } from "./health.ts";
import { READ_METHODS, sendAllowed, sendBody, sendProblem } from "./respond.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

interface HealthSource {
  check: () => Promise<Health>;
  /** The node is about to stop: it still answers, but wants no new traffic. */
  isDraining: () => boolean;
  log: Logger;
}

/** The handlers of the health routes, by path. */
export function healthHandlers({ check, isDraining, log }: HealthSource): Record<string, Handler> {
  // Probes that come together share one check.
  let running: Promise<Health> | undefined;
  const checkOnce = () => (running ??= check().finally(() => (running = undefined)));

  const live = answer(log, async () => ({ ok: true, body: { status: "up" } }));
  const ready = answer(log, async () => {
    if (isDraining()) return { ok: false, body: { status: "draining" } };
    const health = await checkOnce();
    return { ok: health.status !== "down", body: health };
  });
  return {
    "/health": ready,
    "/health/live": live,
    "/health/ready": ready,
    "/health-check/liveness": live,
    "/health-check/readiness": ready,
  };
}

function answer(log: Logger, look: () => Promise<{ ok: boolean; body: object }>): Handler {
  return async (request, response) => {
    try {
      if (request.method !== "GET" && request.method !== "HEAD") {
        sendAllowed(request, response, READ_METHODS);
        return;
      }
      const { ok, body } = await look();
      response.setHeader("Cache-Control", "no-store");
      sendBody(response, ok ? 200 : 503, body, { format: "json", xmlRoot: "health" });
    } catch (error) {
      sendProblem(request, response, error, log);
    }
  };
}
