import type { Context, Service, ServiceBroker } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { cacheKey } from "../../broker/cache/cache-key.ts";
import { Cacher } from "../../broker/cache/cacher.ts";
import { invalidField } from "../../broker/errors.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import { call, type ActionName, type ActionParams, type ActionResult } from "../../lib/contracts.ts";
import { HealthMixin } from "../../mixins/health.mixin.ts";
import { CacheRepair } from "./cache-repair.ts";
import * as contract from "./cache.contract.ts";
import { addUp, interleave } from "./cache.domain.ts";

/*
 * What operators do with the caches of all nodes, and what keeps them right when a node dies at the wrong moment. The
 * caches themselves are in every node and need no service.
 */

interface Variables {
  cacher: Cacher;
  repair: CacheRepair;
}

interface ServiceItem {
  name: string;
  nodeID: string;
}

type CacheService = Service<object> & Variables;
type Params<Name extends ActionName> = Context<ActionParams<Name>>;

const ASK = { timeout: 2000, retries: 0 };

/** Users that are read at the same time to warm the cache: the database has other things to do. */
const WARM_CONCURRENCY = 10;
/** As many as may be asked for take 2 s where nothing else happens. */
const WARM_TIMEOUT_MS = 60_000;

export function createCacheService(node: Node): AppServiceSchema<object, object, Variables> {
  return {
    name: "cache",
    mixins: [HealthMixin(node.monitors)],

    actions: {
      stats: {
        visibility: "published",
        params: contract.statsParams,
        async handler(): Promise<ActionResult<"cache.stats">> {
          const nodes = await askNodes(this.broker, "cache-node.stats", {});
          return { nodes: nodes.length, levels: addUp(nodes) };
        },
      },

      purge: {
        visibility: "published",
        params: contract.purgeParams,
        async handler(ctx: Params<"cache.purge">): Promise<ActionResult<"cache.purge">> {
          const { namespace, id } = ctx.params;
          const known = this.cacher.namespaces();
          if (namespace !== undefined && !known.includes(namespace)) {
            throw invalidField("namespace", "unknown", "Nothing is cached under this name.");
          }
          const namespaces = namespace === undefined ? known : [namespace];
          const { cache } = this.cacher;
          if (id === undefined) await cache.purge(namespaces);
          else {
            const params = { id: id.toLowerCase() };
            await cache.change(namespaces.map((name) => ({ key: cacheKey(name, params) })));
          }
          return { namespaces };
        },
      },

      warm: {
        visibility: "published",
        params: contract.warmParams,
        timeout: WARM_TIMEOUT_MS,
        async handler(ctx: Context<{ limit: number }>): Promise<ActionResult<"cache.warm">> {
          const { limit } = ctx.params;
          const recent = await askNodes(this.broker, "cache-node.recent", { namespace: "users.get", limit });
          const ids = interleave(recent, limit);
          let users = 0;
          const readOn = async (): Promise<void> => {
            for (let id = ids.shift(); id !== undefined; id = ids.shift()) {
              // From the database: Redis is to get it, which what a memory answers does not.
              const reading = call(ctx.broker, "users.get", { id }, { meta: { $cache: false } });
              if (await reading.catch(() => undefined)) users += 1;
            }
          };
          await Promise.all(Array.from({ length: WARM_CONCURRENCY }, readOn));
          return { users };
        },
      },
    },

    events: {
      "events-appended": {
        handler(this: CacheService) {
          this.repair.wake();
        },
      },
    },

    created() {
      const { cacher } = this.broker;
      if (!(cacher instanceof Cacher)) throw new Error("The broker has no cacher of ours.");
      this.cacher = cacher;
      this.repair = new CacheRepair(this.broker, cacher.cache);
    },

    async started() {
      this.repair.start();
    },

    async stopped() {
      await this.repair.stop();
    },
  };
}

/** Asks every node, in the name of this one; those that do not answer in time are left out. */
async function askNodes<Name extends "cache-node.stats" | "cache-node.recent">(
  broker: ServiceBroker,
  name: Name,
  params: ActionParams<Name>,
): Promise<ActionResult<Name>[]> {
  const services = broker.registry.getServiceList({ onlyAvailable: true }) as ServiceItem[];
  const asked = services.filter((service) => service.name === "cache-node");
  const answers = await Promise.allSettled(
    asked.map(({ nodeID }) => call(broker, name, params, { ...ASK, nodeID })),
  );
  return answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
}
