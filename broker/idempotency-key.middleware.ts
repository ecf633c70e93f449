import type { ActionHandler, Context, Middleware } from "moleculer";
import type { AppActionSchema } from "./service-schema.ts";

/** Header of a call that holds the idempotency key. Headers, unlike meta, do not go on to the calls that follow. */
export const IDEMPOTENCY_KEY_HEADER = "idempotency-key";

/**
 * Gives every call of an action marked `idempotent: true` an idempotency key, unless the caller brought one. It is
 * set before the first attempt and stays the same over the broker's retries, on whichever node they run.
 */
export const idempotencyKeyMiddleware: Middleware = {
  name: "IdempotencyKey",
  localAction: withKey,
  remoteAction: withKey,
};

function withKey(next: ActionHandler, action: AppActionSchema): ActionHandler {
  if (!action.idempotent) return next;
  return function withIdempotencyKey(ctx: Context) {
    ctx.headers = { ...ctx.headers, [IDEMPOTENCY_KEY_HEADER]: ctx.headers?.[IDEMPOTENCY_KEY_HEADER] ?? ctx.id };
    return next.call(ctx.service!, ctx);
  };
}
