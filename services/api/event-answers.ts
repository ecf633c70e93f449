import type { ServiceBroker } from "moleculer";
import type { Logger } from "pino";
import { appError } from "../../broker/errors.ts";
import { listEvents } from "../../mixins/list-events.ts";
import type { EventPage, ListEvents } from "../events/events.contract.ts";
import { EventHub, type HubOptions } from "./event-hub.ts";
import { readFeedQuery } from "./event-query.ts";
import { EventStreams, type StreamTiming } from "./event-streams.ts";
import { EventWaits } from "./event-waits.ts";
import type { Guard } from "./guard.ts";
import { negotiate } from "./representation.ts";
import { sendBody } from "./respond.ts";
import { callingOptions, type GatewayRequest } from "./gateway-request.ts";
import type { Answer } from "./rest-handler.ts";

/** How a gateway answers requests about the event log. */
export interface EventAnswers {
  /** A page of the log, which the request may wait for. */
  feed: Answer;
  /** Events as they come. */
  stream: Answer;
  /** The log is said to have grown up to `sequence`. */
  announce(sequence: number): void;
  /** Ends all waits and streams. */
  close(): void;
}

export type EventTiming = Partial<StreamTiming> & Pick<HubOptions, "lingerMs">;

interface EventAnswersParts {
  broker: ServiceBroker;
  guard: Pick<Guard, "stillAdmits">;
  log: Logger;
  /** Only tests have others. */
  timing?: EventTiming;
}

export function createEventAnswers({ broker, guard, log, timing = {} }: EventAnswersParts): EventAnswers {
  const readPage = (query: Partial<ListEvents>, request: GatewayRequest): Promise<EventPage> =>
    listEvents(broker, query, callingOptions(request));
  // In the name of the node: what it finds is for all readers, each of whom was admitted before.
  const { lingerMs } = timing;
  const hub = new EventHub({ readPage: (query) => listEvents(broker, query), log, lingerMs });
  const waits = new EventWaits(hub);
  const isAdmitted = (request: GatewayRequest) => guard.stillAdmits(request, "events.list");
  const streams = new EventStreams({ hub, readPage, isAdmitted, log, timing });

  const feed: Answer = async (request, response) => {
    const format = negotiate(request);
    const query = readFeedQuery(request.url);
    const { wait, ...list } = query;
    let page = await readPage(list, request);
    if (page.data.length === 0 && wait > 0) {
      const position = page.nextAfter;
      const news = await waits.next(query, position, response);
      // A wait is long enough for a session to end in it.
      if (!(await isAdmitted(request))) throw appError("INVALID_TOKEN");
      page = news ?? (await readPage({ ...list, after: position }, request));
    }
    response.appendHeader("Vary", "Accept");
    response.setHeader("Cache-Control", "no-store");
    response.setHeader("Link", nextLink(request.url, page.nextAfter));
    sendBody(response, 200, page, { format, xmlRoot: "events" });
  };

  return {
    feed,
    stream: (request, response) => streams.open(request, response),
    announce: (sequence) => hub.announce(sequence),
    close() {
      waits.close();
      streams.close();
      hub.rest();
    },
  };
}

/** A link to what comes after, with the same filters (RFC 8288). */
function nextLink(url: string, nextAfter: number): string {
  const [path = "", query] = url.split("?");
  const parameters = new URLSearchParams(query);
  parameters.set("after", String(nextAfter));
  return `<${path}?${parameters.toString()}>; rel="next"`;
}
