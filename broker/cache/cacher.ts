import { Cachers, type Context, type Middleware, type ServiceBroker } from "moleculer";
import { isCanonicalId } from "../../lib/ids.ts";
import { actionMiddleware, type Next } from "../action-middleware.ts";
import { natsConnectionOf } from "../nats-link.ts";
import { cacheKey, namespaceOf } from "./cache-key.ts";
import type { Answer, Cache, Load } from "./cache.ts";
import { answerOf, entryOf, type CacheEntry } from "./entry.ts";

/** How the answers of an action are cached. It goes to the other nodes with the action, so it holds no functions. */
export interface ActionCache {
  /** Also at the caller: a call that its cache can answer does not leave its node. */
  near?: boolean;
  /** This parameter is the id of a row. Calls that write it in another way than we do are not cached. */
  id?: string;
}

/** The metadata of a call that the cache reads and writes. */
export interface CacheMeta {
  /** False: past the cache, whose entry is replaced. */
  $cache?: boolean;
  /** Where the answer came from, as in a field `Cache-Status` (RFC 9211) after the name of the cache. */
  $cacheStatus?: string;
}

type Call = Context<Record<string, unknown>, CacheMeta>;

/**
 * Puts the cache around the actions that declare `cache`. The answer of such an action depends on nothing but its
 * parameters: who may have it is decided before.
 */
export class Cacher extends Cachers.Base<object> {
  readonly cache: Cache;

  constructor(cache: Cache) {
    super({});
    this.cache = cache;
  }

  override middleware(): Middleware {
    const { cache } = this;
    return {
      name: "Cacher",
      localAction: actionMiddleware((next, action) => {
        const options = optionsOf(action.cache);
        return options ? cached({ cache, name: action.name ?? "", options, next, isNear: false }) : next;
      }),
      started: async (broker: ServiceBroker) => cache.start(natsConnectionOf(broker)),
    };
  }

  /** Puts the cache of the caller around the actions of other nodes that declare it. Authorize outside of it. */
  nearMiddleware(): Middleware {
    const { cache } = this;
    return {
      name: "NearCache",
      remoteAction: actionMiddleware((next, action) => {
        const options = optionsOf(action.cache);
        return options?.near ? cached({ cache, name: action.name ?? "", options, next, isNear: true }) : next;
      }),
    };
  }

  override async get(key: string): Promise<never> {
    const entry = await this.cache.get(key);
    return (entry && answerOf(entry)) as never;
  }

  /** @param ttl in seconds */
  override async set(key: string, data: unknown, ttl?: number): Promise<void> {
    if (data !== undefined) await this.cache.put(key, entryOf(data), ttl && ttl * 1000);
  }

  override async del(keys: string | string[]): Promise<void> {
    await this.cache.change([keys].flat().map((key) => ({ key, entry: undefined })));
  }

  /** @param match patterns of keys, of which only the namespace counts; none: everything that this node knows of */
  override async clean(match?: string | string[]): Promise<void> {
    const namespaces = match === undefined ? this.namespaces() : [match].flat().map(namespaceOf);
    await this.cache.purge(namespaces);
  }

  /** All that can have entries: the cached actions of the cluster, and what else this node has met. */
  namespaces(): string[] {
    const actions = this.broker.registry.getActionList({ withEndpoints: false, skipInternal: true });
    const cachedActions = actions.filter(({ action }) => optionsOf(action?.cache)).map(({ name }) => name);
    const met = [...this.cache.statistics.all()].map(({ namespace }) => namespace);
    return [...new Set([...cachedActions, ...met])];
  }

  override getWithTTL(): Promise<never> {
    throw new Error("Not used: calls of one key share one load without a lock.");
  }

  override lock(): Promise<never> {
    return this.getWithTTL();
  }

  override tryLock(): Promise<never> {
    return this.getWithTTL();
  }

  override async close(): Promise<void> {
    this.cache.stop();
  }
}

/**
 * Tells every cache that the cached calls under these keys answer something else now: what `entry` says or, without it,
 * something that is to be read anew.
 *
 * @param isNew what they are about did not exist before, under an id that nobody could know
 */
export async function changeCache(
  broker: ServiceBroker,
  keys: string[],
  entry?: CacheEntry,
  isNew = false,
): Promise<void> {
  const { cacher } = broker;
  if (cacher instanceof Cacher) await cacher.cache.change(keys.map((key) => ({ key, entry, isNew })));
}

function optionsOf(cache: unknown): ActionCache | undefined {
  if (cache === true) return {};
  return typeof cache === "object" && cache !== null ? cache : undefined;
}

interface Cached {
  cache: Cache;
  name: string;
  options: ActionCache;
  next: Next;
  /** The action is on another node. */
  isNear: boolean;
}

const HIT_IN_MEMORY = "hit; detail=memory";

function cached({ cache, name, options, next, isNear }: Cached): Next {
  const loadFor = (ctx: Context): Load => Object.assign(() => next(ctx), { isRemote: isNear });
  return async (ctx) => {
    const { meta, params } = ctx as Call;
    if (options.id !== undefined && !isCanonicalId(params[options.id])) {
      meta.$cacheStatus = "fwd=bypass; detail=database";
      return next(ctx);
    }
    const key = cacheKey(name, params);
    if (meta.$cache === false) {
      const { entry } = await cache.refresh(key, loadFor(ctx));
      meta.$cacheStatus = "fwd=request; detail=database";
      return answerOf(entry);
    }
    const inMemory = cache.peek(key);
    if (inMemory) {
      meta.$cacheStatus = HIT_IN_MEMORY;
      return answerOf(inMemory);
    }
    const answer = await cache.read(key, loadFor(ctx));
    // The node that has the action says where it found the answer.
    if (isNear && answer.source === "database" && !answer.isCollapsed) meta.$cacheStatus ??= statusOf(answer);
    else meta.$cacheStatus = statusOf(answer);
    return answerOf(answer.entry);
  };
}

function statusOf({ source, isCollapsed }: Answer): string {
  if (source === "database") return `fwd=miss;${isCollapsed ? " collapsed;" : ""} detail=database`;
  return `hit; detail=${source}`;
}
