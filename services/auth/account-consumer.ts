import type { ServiceSchema } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { durableConsumer } from "../../mixins/durable-consumer.mixin.ts";
import type { Accounts } from "./accounts.ts";

/**
 * Does, from the events, what the users service asks for by a call right after its commit: that call may be lost with
 * its node, or find no auth service. Gateways hear of the sessions when they next ask for revocations.
 */
export function accountConsumer(node: Node, accounts: Accounts): Partial<ServiceSchema> {
  return durableConsumer(node, {
    name: "auth-accounts",
    events: ["user-updated_v1", "user-suspended_v1", "user-deleted_v1", "user-erased_v1"],
    handler: async ({ event: { type, subject, data, changedfields }, transaction }) => {
      // An access token says which role its user has; nothing else of an update is about sessions.
      if (type === "user-updated_v1" && !changedfields.split(",").includes("role")) return;
      if (type === "user-erased_v1") await accounts.erase(subject, transaction);
      // By now the user may be unsuspended or restored, and have logged in again.
      else await accounts.logOutBefore(subject, data.version, transaction);
    },
  });
}
