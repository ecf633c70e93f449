import type { Middleware } from "moleculer";
import { actionMiddleware } from "./action-middleware.ts";

/**
 * Logs every action that runs on this node: at debug level with its duration, at error level when it failed for a
 * reason that is not the caller's.
 */
export const requestLogMiddleware: Middleware = {
  name: "RequestLog",
  localAction: actionMiddleware((next, action, broker) => {
    // The gateway logs its own requests, with what a client sees of them.
    if (action.visibility === "private") return next;
    const log = broker.getLogger("action");
    return async (ctx) => {
      const startedAt = performance.now();
      const bindings = () => ({
        action: action.name,
        requestId: ctx.requestID,
        durationMs: Math.round((performance.now() - startedAt) * 10) / 10,
      });
      try {
        const result = await next(ctx);
        log.debug(bindings(), "action done");
        return result;
      } catch (error) {
        const { code } = error as { code?: unknown };
        const isCallersFault = typeof code === "number" && code >= 400 && code < 500;
        if (isCallersFault) log.debug({ ...bindings(), err: error }, "action refused");
        else log.error({ ...bindings(), err: error }, "action failed");
        throw error;
      }
    };
  }),
};
