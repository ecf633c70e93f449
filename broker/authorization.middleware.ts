import type { Context, Middleware } from "moleculer";
import { accessOf, refusalOf } from "../lib/access.ts";
import type { Config } from "../lib/config.ts";
import type { Principal, PrincipalMeta } from "../lib/principal.ts";
import { actionMiddleware } from "./action-middleware.ts";
import { appError } from "./errors.ts";

type Call = Context<Record<string, unknown>, PrincipalMeta>;

/**
 * Refuses calls by the access table: on the node that has the action, whoever calls it, and already on the node of the
 * caller. A call that a node makes by itself, for no request, is made in the name of the node; one from another node
 * that says nothing of its principal is refused.
 */
export function authorizationMiddleware({
  SERVICE_PRINCIPAL,
  SIGNUP,
}: Pick<Config, "SERVICE_PRINCIPAL" | "SIGNUP">): Middleware {
  const self: Principal = { kind: "service", name: SERVICE_PRINCIPAL };
  const settings = { isSignupOpen: SIGNUP === "open" };

  const authorize = actionMiddleware((next, action, broker) => {
    // Nobody calls these from elsewhere, and `api.rest` is every request, whoever sends it.
    if (action.visibility === "private") return next;
    const rule = accessOf(action.name ?? "");
    return (ctx) => {
      const call = ctx as Call;
      if (!call.meta.principal) {
        if (isFromOtherNode(call, broker.nodeID)) return Promise.reject(appError("UNAUTHENTICATED"));
        // A copy: the metadata may be an object of the caller, who may use it again.
        call.meta = { ...call.meta, principal: self };
      }
      const refusal = refusalOf(rule, call.meta.principal ?? self, call.params, settings);
      return refusal ? Promise.reject(appError(refusal)) : next(ctx);
    };
  });
  return { name: "Authorization", localAction: authorize, remoteAction: authorize };
}

/** A call over NATS that arrives here has the node of its caller; one that leaves, that of its callee. */
function isFromOtherNode({ nodeID, endpoint }: Call, ownNodeId: string): boolean {
  return nodeID !== ownNodeId && (endpoint as { local?: boolean } | null)?.local === true;
}
