import { randomUUID } from "node:crypto";
import type { Middleware } from "moleculer";
import { actionMiddleware } from "./action-middleware.ts";

/** Header of a call that holds the idempotency key. Headers, unlike meta, do not go on to the calls that follow. */
export const IDEMPOTENCY_KEY_HEADER = "idempotency-key";

const withKey = actionMiddleware((next, action) => {
  if (!action.idempotent) return next;
  return (ctx) => {
    const key: unknown = ctx.headers[IDEMPOTENCY_KEY_HEADER];
    // Not the id of the context: Moleculer makes that from Math.random.
    if (key === undefined) ctx.headers = { ...ctx.headers, [IDEMPOTENCY_KEY_HEADER]: randomUUID() };
    return next(ctx);
  };
});

/**
 * Gives every call of an action marked `idempotent: true` an idempotency key, unless the caller brought one. It is
 * set before the first attempt and stays the same over the broker's retries, on whichever node they run.
 */
export const idempotencyKeyMiddleware: Middleware = {
  name: "IdempotencyKey",
  localAction: withKey,
  remoteAction: withKey,
};
