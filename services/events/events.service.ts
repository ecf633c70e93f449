import type { Context, Service } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import type { ActionResult } from "../../lib/contracts.ts";
import { HealthMixin } from "../../mixins/health.mixin.ts";
import * as contract from "./events.contract.ts";
import { readEventPage } from "./event-page.ts";
import { readStatus } from "./events.repository.ts";

/*
 * Owns the schema `events`: the outbox, which units of work of every service write, and the log.
 */

export function createEventsService(node: Node): AppServiceSchema<object, object, object> {
  const { database } = node;

  return {
    name: "events",
    mixins: [HealthMixin(node.monitors)],

    actions: {
      list: {
        visibility: "public",
        params: contract.listEventsParams,
        handler(ctx: Context<contract.ListEvents>): Promise<ActionResult<"events.list">> {
          return readEventPage(database, ctx.params);
        },
      },

      status: {
        visibility: "public",
        params: contract.statusParams,
        async handler(this: Service): Promise<ActionResult<"events.status">> {
          return { ...(await readStatus(database)), streamMessages: null };
        },
      },
    },
  };
}
