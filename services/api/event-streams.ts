import type { ServerResponse } from "node:http";
import Negotiator from "negotiator";
import type { Logger } from "pino";
import { appError } from "../../broker/errors.ts";
import { Slots } from "../../lib/slots.ts";
import type { EventPage, ListEvents } from "../events/events.contract.ts";
import type { EventHub } from "./event-hub.ts";
import { readStreamQuery } from "./event-query.ts";
import type { GatewayRequest } from "./gateway-request.ts";
import { acceptOf } from "./representation.ts";
import { SseStream } from "./sse-stream.ts";

/** Reads a page of the log in the name of a request. */
type ReadPage = (query: Partial<ListEvents>, request: GatewayRequest) => Promise<EventPage>;

interface EventStreamsOptions {
  hub: EventHub;
  readPage: ReadPage;
  /** Whether the client that has sent a request may still read events. */
  isAdmitted: (request: GatewayRequest) => Promise<boolean>;
  log: Logger;
  /** Only tests have others. */
  timing: Partial<StreamTiming>;
}

export interface StreamTiming {
  /** How often a stream shows that it lives, well below the 60 s after which common proxies end a silent connection. */
  heartbeatMs: number;
  /** How often it is looked at whether its client may still read it: with the time until that is known, each second. */
  recheckMs: number;
  /** A client that takes nothing for so long is disconnected. */
  stallTimeoutMs: number;
}

const TIMING: StreamTiming = { heartbeatMs: 15_000, recheckMs: 500, stallTimeoutMs: 10_000 };

/** Each needs a socket and about 50 kB. */
const MAX_STREAMS = 5000;

/** Pages that streams read at the same time: after a restart, many clients may have something to catch up with. */
const MAX_PAGE_READS = 4;

const EVENT_STREAM = "text/event-stream";

const HEADERS = {
  "Content-Type": EVENT_STREAM,
  // No proxy may keep or compress it: compression would hold events back.
  "Cache-Control": "no-store, no-transform",
  // For nginx, which would collect the answer.
  "X-Accel-Buffering": "no",
};

/** The open streams of a gateway. */
export class EventStreams {
  readonly #options: EventStreamsOptions;
  readonly #timing: StreamTiming;
  readonly #pageReads = new Slots(MAX_PAGE_READS);
  readonly #streams = new Map<SseStream, GatewayRequest>();
  #timers: NodeJS.Timeout[] = [];
  #isClosed = false;

  constructor(options: EventStreamsOptions) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
  }

  /**
   * Answers a request with a stream that is open until one side ends it.
   *
   * @throws NOT_ACCEPTABLE, VALIDATION_FAILED, EVENTS_EXPIRED, OVERLOADED, SERVICE_UNAVAILABLE
   */
  async open(request: GatewayRequest, response: ServerResponse): Promise<void> {
    const negotiator = new Negotiator({ headers: { accept: acceptOf(request) } });
    if (negotiator.mediaType([EVENT_STREAM]) === undefined) throw appError("NOT_ACCEPTABLE");
    const { after, ...filter } = readStreamQuery(request.url, request.headers);
    const position = await this.#startAt(after, request);
    if (this.#isClosed) throw appError("SERVICE_UNAVAILABLE");
    if (this.#streams.size >= MAX_STREAMS) throw appError("OVERLOADED");
    // The client may have left meanwhile; its "close" would not come again.
    if (response.destroyed) return;

    response.writeHead(200, HEADERS);
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    // Spread, so that the clients of a gateway that ends do not come back all at once. The id is where the client goes
    // on if it is cut off before the first event.
    response.write(`retry: ${Math.round(1000 + Math.random() * 2000)}\nid: ${position}\n\n`);
    const { hub, log } = this.#options;
    const stream = new SseStream({
      hub,
      log,
      response,
      filter,
      position,
      readPage: (query) => this.#readPage(query, request),
      stallTimeoutMs: this.#timing.stallTimeoutMs,
    });
    this.#keep(stream, request, response);
  }

  /** Ends all streams; their clients come back to another gateway. */
  close(): void {
    this.#isClosed = true;
    for (const stream of this.#streams.keys()) stream.end();
  }

  /** Where the client wants to begin, if the log has that; by default after all that is there now. */
  async #startAt(after: number | undefined, request: GatewayRequest): Promise<number> {
    const { hub } = this.#options;
    if (hub.isReady) {
      // The usual cases, which are no work for the events service.
      if (after === undefined) return hub.head;
      if (after <= hub.head && hub.since(after)) return after;
    }
    const query = after === undefined ? { limit: 1 } : { after, limit: 1 };
    const { lastSequence } = await this.#readPage(query, request);
    return after ?? lastSequence;
  }

  #keep(stream: SseStream, request: GatewayRequest, response: ServerResponse): void {
    if (this.#streams.size === 0) this.#startTimers();
    this.#streams.set(stream, request);
    response.once("close", () => {
      this.#streams.delete(stream);
      if (this.#streams.size > 0) return;
      for (const timer of this.#timers.splice(0)) clearInterval(timer);
    });
  }

  #startTimers(): void {
    const { heartbeatMs, recheckMs } = this.#timing;
    const beat = () => {
      for (const stream of this.#streams.keys()) stream.beat();
    };
    const recheck = () => {
      for (const [stream, request] of this.#streams) void this.#endUnlessAdmitted(stream, request);
    };
    this.#timers = [setInterval(beat, heartbeatMs), setInterval(recheck, recheckMs)];
  }

  #readPage(query: Partial<ListEvents>, request: GatewayRequest): Promise<EventPage> {
    return this.#pageReads.run(() => this.#options.readPage(query, request));
  }

  async #endUnlessAdmitted(stream: SseStream, request: GatewayRequest): Promise<void> {
    if (!(await this.#options.isAdmitted(request))) stream.end();
  }
}
