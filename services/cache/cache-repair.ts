import type { ServiceBroker } from "moleculer";
import { cacheKey } from "../../broker/cache/cache-key.ts";
import type { Cache, CacheChange } from "../../broker/cache/cache.ts";
import type { CloudEvent } from "../../lib/cloud-event.ts";
import type { ActionName } from "../../lib/contracts.ts";
import { isPositionLost, listEvents } from "../../mixins/list-events.ts";

/** Looks at the log by itself now and then: the hint that there is something new can get lost. */
const POLL_INTERVAL_MS = 5000;

const PAGE = 500;

/** How far back it looks at its start: what happened while no node of the cache service ran. */
const LOOK_BACK = 5000;

/** The cached action that shows the resource of an event, by what the type of the event begins with. */
const READ_OF: Readonly<Record<string, ActionName>> = { user: "users.get" };

/**
 * Goes through the log of events behind the writers, and drops what is older than an event says. Most often there is
 * nothing to drop. But a node can be killed after it has committed a change and before any cache has heard of it.
 */
export class CacheRepair {
  readonly #broker: ServiceBroker;
  readonly #cache: Cache;
  #position: number | undefined;
  #running: Promise<void> | undefined;
  #isWanted = false;
  #isStopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(broker: ServiceBroker, cache: Cache) {
    this.#broker = broker;
    this.#cache = cache;
  }

  start(): void {
    this.#timer = setInterval(() => this.wake(), POLL_INTERVAL_MS);
    this.#timer.unref();
    this.wake();
  }

  /** Settles when the page that is being looked at is done. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#isStopped = true;
    await this.#running;
  }

  /** To be called when the log has grown. */
  wake(): void {
    this.#isWanted = true;
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
  }

  async #run(): Promise<void> {
    while (this.#isWanted && !this.#isStopped) {
      this.#isWanted = false;
      // Looked up first: the broker logs every call of an action that is nowhere.
      if (!this.#broker.registry.actions.isAvailable("events.list")) return;
      try {
        if (await this.#step()) this.#isWanted = true;
      } catch (error) {
        // What went wrong is tried again by the next hint; a log without the position is gone through anew.
        if (isPositionLost(error)) this.#position = undefined;
        else this.#broker.logger.debug("the cache was not compared with the log", error);
      }
    }
  }

  /** @returns whether there is more */
  async #step(): Promise<boolean> {
    const after = (this.#position ??= await this.#firstPosition());
    const { data, nextAfter, lastSequence } = await listEvents(this.#broker, { after, limit: PAGE });
    await this.#cache.change(data.flatMap(changeOf));
    this.#position = nextAfter;
    return nextAfter < lastSequence && nextAfter > after;
  }

  async #firstPosition(): Promise<number> {
    const { data, lastSequence } = await listEvents(this.#broker, { limit: 1 });
    const beforeFirst = Number(data[0]?.sequence ?? 1) - 1;
    return Math.max(0, beforeFirst, lastSequence - LOOK_BACK);
  }
}

function changeOf({ type, subject, data }: CloudEvent): CacheChange[] {
  const action = READ_OF[type.slice(0, type.indexOf("-"))];
  const { version } = data as { version?: unknown };
  if (!action || typeof version !== "number") return [];
  return [{ key: cacheKey(action, { id: subject }), version }];
}
