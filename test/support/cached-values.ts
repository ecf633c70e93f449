import type { Context, ServiceBroker, ServiceSchema } from "moleculer";

import { FailOpenRedisCacher } from "../../broker/cache.ts";
import { waitFor } from "./wait-for.ts";

/** Values by key, behind a service whose action `values.get` is cached. */
export class CachedValues {
  readonly values = new Map<string, unknown>();
  /** What the action gives for a key that has no value. */
  fallback: unknown;
  /** The keys for which the action ran, since the cache had no answer. */
  readonly misses: string[] = [];

  /** @param mixins of the service */
  service(mixins: Partial<ServiceSchema>[] = []): ServiceSchema {
    return {
      name: "values",
      mixins,
      actions: {
        get: {
          cache: true,
          handler: (ctx: Context<{ key: string }>): unknown => {
            const { key } = ctx.params;
            this.misses.push(key);
            return this.values.has(key) ? this.values.get(key) : this.fallback;
          },
        },
      },
    };
  }

  missesOf(key: string): number {
    return this.misses.filter((miss) => miss === key).length;
  }
}

/** The cacher of a broker that has started, once it is of use. */
export async function cacherOf(broker: ServiceBroker): Promise<NonNullable<ServiceBroker["cacher"]>> {
  const { cacher } = broker;
  if (!cacher) throw new Error("The broker has no cacher.");
  if (cacher instanceof FailOpenRedisCacher) {
    await waitFor(() => cacher.link.ping().then(() => true), { description: "the cacher to have Redis" });
  }
  return cacher;
}
