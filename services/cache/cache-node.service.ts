import type { Context, ServiceSchema } from "moleculer";
import type { Cache } from "../../broker/cache/cache.ts";
import type { ActionParams, ActionResult } from "../../lib/contracts.ts";
import * as contract from "./cache.contract.ts";
import { readStatistics } from "./cache.domain.ts";

/** Lets the cache service look into the memory of a node. Every node has it. */
export function createCacheNodeService(cache: Cache): ServiceSchema {
  return {
    name: "cache-node",
    actions: {
      stats: {
        visibility: "public",
        params: contract.statsParams,
        handler: (): Promise<ActionResult<"cache-node.stats">> => readStatistics(cache),
      },

      recent: {
        visibility: "public",
        params: contract.recentParams,
        handler({ params }: Context<ActionParams<"cache-node.recent">>): ActionResult<"cache-node.recent"> {
          const ids: string[] = [];
          for (const entry of cache.recent(params.namespace)) {
            if (ids.length >= params.limit) break;
            const id = "value" in entry ? (entry.value as { id?: unknown } | null)?.id : undefined;
            if (typeof id === "string") ids.push(id);
          }
          return ids;
        },
      },
    },
  };
}
