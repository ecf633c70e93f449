import type { Context, ServiceBroker, ServiceSchema } from "moleculer";

import { Cacher } from "../../broker/cache/cacher.ts";
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

/**
 * The cacher of a broker, once it is of use: when its memory may be used and, if it is on Redis, that is there.
 *
 * @param levels that it has
 */
export async function cacherOf(
  broker: ServiceBroker,
  { levels = ["memory"] }: { levels?: readonly string[] } = {},
): Promise<Cacher> {
  const { cacher } = broker;
  if (!(cacher instanceof Cacher)) throw new Error("The broker has another cacher.");
  if (levels.length === 0) return cacher;
  const isReady = async (): Promise<boolean> => {
    await cacher.set("probe:1", 1);
    const found = new Set((await cacher.cache.sizes()).map(({ level }) => level as string));
    return cacher.cache.peek("probe:1") !== undefined && levels.every((level) => found.has(level));
  };
  await waitFor(isReady, { description: "the cache to be of use" });
  return cacher;
}
