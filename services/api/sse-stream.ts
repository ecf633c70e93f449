import type { ServerResponse } from "node:http";
import type { Logger } from "pino";
import { isPositionLost } from "../../mixins/list-events.ts";
import type { EventPage, ListEvents } from "../events/events.contract.ts";
import type { EventHub } from "./event-hub.ts";
import { isWanted, type EventFilter } from "./event-query.ts";
import { toFrame, type TailEvent } from "./log-tail.ts";

export interface SseStreamOptions {
  hub: EventHub;
  /** Reads a page of the log, for what the hub has no more. */
  readPage: (query: Partial<ListEvents>) => Promise<EventPage>;
  response: ServerResponse;
  filter: EventFilter;
  /** The stream has what comes after it. */
  position: number;
  /** A client that takes nothing for so long is disconnected. */
  stallTimeoutMs: number;
  log: Logger;
}

/** At most so much and one event more is written at once; what the client has not taken stays in memory. */
const CHUNK_BYTES = 65_536;

/** A slow client makes the gateway hold a page. */
const PAGE_SIZE = 100;

const RETRY_DELAY_MS = 1000;

/**
 * One open stream: a position in the log that moves as fast as its client reads. Nothing is buffered beyond one chunk:
 * a client that falls behind the hub reads pages until it is back.
 */
export class SseStream {
  readonly #options: SseStreamOptions;
  readonly #response: ServerResponse;
  readonly #stopListening: () => void;
  #position: number;
  /** Up to where the client knows that it has everything. */
  #toldPosition: number;
  /** For a page, for the client to take what was written, or for the end. */
  #isWaiting = false;
  #isOver = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SseStreamOptions) {
    const { hub, response, position } = options;
    this.#options = options;
    this.#response = response;
    this.#position = position;
    this.#toldPosition = position;
    this.#stopListening = hub.listen({ advanced: () => this.#pump(), lost: () => this.end() });
    response.once("close", () => this.#stop());
    this.#pump();
  }

  /** Shows the client and proxies that the connection lives. Tells where to go on, if no event has. */
  beat(): void {
    if (this.#isWaiting) return;
    const isTold = this.#position === this.#toldPosition;
    this.#toldPosition = this.#position;
    this.#write(isTold ? ":\n\n" : `id: ${this.#position}\n\n`);
  }

  /** Ends the answer. A client that does not read would never come to its end. */
  end(): void {
    if (this.#isOver) return;
    if (this.#response.writableNeedDrain) this.#response.destroy();
    else this.#response.end();
    this.#stop();
  }

  #stop(): void {
    this.#isOver = true;
    this.#isWaiting = true;
    this.#stopListening();
    clearTimeout(this.#timer);
  }

  /** Sends what there is, until there is no more or the client takes no more. */
  #pump(): void {
    while (!this.#isWaiting) {
      const events = this.#options.hub.since(this.#position);
      if (!events) {
        void this.#catchUp();
        return;
      }
      if (events.length === 0) return;
      this.#send(events);
    }
  }

  #send(events: readonly TailEvent[]): void {
    const frames: Buffer[] = [];
    let bytes = 0;
    for (const { sequence, event, frame } of events) {
      this.#position = sequence;
      if (!isWanted(event, this.#options.filter)) continue;
      this.#toldPosition = sequence;
      frames.push(frame);
      bytes += frame.length;
      if (bytes >= CHUNK_BYTES) break;
    }
    if (frames.length > 0) this.#write(Buffer.concat(frames));
  }

  #write(chunk: Buffer | string): void {
    if (this.#response.write(chunk)) return;
    this.#isWaiting = true;
    this.#timer = setTimeout(() => {
      this.#options.log.info({ position: this.#toldPosition }, "a stream is closed: its client is too slow");
      this.#response.destroy();
    }, this.#options.stallTimeoutMs);
    this.#response.once("drain", () => this.#goOn());
  }

  #goOn(): void {
    if (this.#isOver) return;
    clearTimeout(this.#timer);
    this.#isWaiting = false;
    this.#pump();
  }

  async #catchUp(): Promise<void> {
    const { readPage, filter, hub } = this.#options;
    this.#isWaiting = true;
    try {
      const page = await readPage({ ...filter, after: this.#position, limit: PAGE_SIZE });
      if (this.#isOver) return;
      this.#isWaiting = false;
      this.#position = page.nextAfter;
      const last = page.data.at(-1);
      if (last) {
        this.#toldPosition = Number(last.sequence);
        this.#write(Buffer.concat(page.data.map(toFrame)));
      }
      // At the end, before the hub is: it says so when it is there.
      if (hub.isReady || page.nextAfter < page.lastSequence) this.#pump();
    } catch (error) {
      if (this.#isOver) return;
      // The client comes back with its position, and is told in the answer what is wrong with it.
      if (isPositionLost(error)) this.end();
      else this.#timer = setTimeout(() => this.#goOn(), RETRY_DELAY_MS);
    }
  }
}
