import type { ServerResponse } from "node:http";
import type { EventPage } from "../events/events.contract.ts";
import type { EventHub } from "./event-hub.ts";
import { isWanted, type FeedQuery } from "./event-query.ts";

/** Waits in which nothing is held but the connection of the client. */
export class EventWaits {
  readonly #hub: EventHub;
  readonly #waits = new Set<() => void>();
  #isClosed = false;

  constructor(hub: EventHub) {
    this.#hub = hub;
  }

  /**
   * Waits for an event after `position` that the query is about.
   *
   * @returns what there is when the wait ends: with such an event, with the time, with the client or with the gateway.
   *   Undefined: so much has come that the log must be asked.
   */
  async next(query: FeedQuery, position: number, response: ServerResponse): Promise<EventPage | undefined> {
    if (this.#isClosed || response.destroyed) return emptyPage(position);
    const { promise, resolve } = Promise.withResolvers<EventPage | undefined>();
    const giveUp = () =>
      resolve(emptyPage(this.#hub.isReady ? Math.max(position, this.#hub.head) : position));
    const look = () => {
      const page = this.#pageSince(query, position);
      if (page === undefined || page.data.length > 0) resolve(page);
    };
    const stopListening = this.#hub.listen({ advanced: look, lost: () => resolve(undefined) });
    const timer = setTimeout(giveUp, query.wait * 1000);
    response.once("close", giveUp);
    this.#waits.add(giveUp);
    if (this.#hub.isReady) look();
    try {
      return await promise;
    } finally {
      stopListening();
      clearTimeout(timer);
      response.off("close", giveUp);
      this.#waits.delete(giveUp);
    }
  }

  /** Ends all waits. */
  close(): void {
    this.#isClosed = true;
    for (const giveUp of this.#waits) giveUp();
  }

  #pageSince(query: FeedQuery, position: number): EventPage | undefined {
    const events = this.#hub.since(position);
    if (!events) return undefined;
    const wanted = events.filter(({ event }) => isWanted(event, query));
    const page = wanted.slice(0, query.limit);
    const lastSequence = Math.max(position, this.#hub.head);
    const nextAfter = page.length < wanted.length ? (page.at(-1)?.sequence ?? position) : lastSequence;
    return { data: page.map(({ event }) => event), nextAfter, lastSequence };
  }
}

const emptyPage = (position: number): EventPage => ({
  data: [],
  nextAfter: position,
  lastSequence: position,
});
