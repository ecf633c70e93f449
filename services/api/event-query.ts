import type { IncomingHttpHeaders } from "node:http";
import { appError, invalidField } from "../../broker/errors.ts";
import { Validator } from "../../broker/validator.ts";
import type { CloudEvent } from "../../lib/cloud-event.ts";
import type { FieldError } from "../../lib/error-catalogue.ts";
import type { Infer } from "../../lib/validation.ts";
import { listEventsParams } from "../events/events.contract.ts";
import { readQuery } from "./request-parameters.ts";

const { limit, ...filterRules } = listEventsParams;

/** Longest time that a request may wait for events. Proxies commonly end one after 60 s. */
const MAX_WAIT_SECONDS = 30;

const feedRules = {
  ...filterRules,
  limit: { ...limit, convert: true },
  wait: { type: "number", integer: true, min: 0, max: MAX_WAIT_SECONDS, convert: true, default: 0 },
} as const;

type Position = { after?: number };
export type EventFilter = Omit<Infer<typeof filterRules>, "after">;
export type FeedQuery = Infer<typeof feedRules>;
export type StreamQuery = EventFilter & Position;

const validator = new Validator();
const checkFeed = validator.compile(feedRules) as Check;
const checkStream = validator.compile(filterRules) as Check;

/** Puts in defaults, and returns what is wrong. */
type Check = (values: Record<string, unknown>) => true | FieldError[];

/**
 * Reads the query of a request for the feed.
 *
 * @throws VALIDATION_FAILED
 */
export function readFeedQuery(url: string): FeedQuery {
  return read(url, checkFeed) as FeedQuery;
}

/**
 * Reads the query of a request for the stream. Where a client goes on is in the header `Last-Event-ID`: its URL still
 * says where it began.
 *
 * @throws VALIDATION_FAILED
 */
export function readStreamQuery(url: string, headers: IncomingHttpHeaders): StreamQuery {
  const query = read(url, checkStream) as StreamQuery;
  const { "last-event-id": lastEventId = "" } = headers;
  if (lastEventId === "") return query;
  const after = toPosition(lastEventId);
  if (Number.isSafeInteger(after)) return { ...query, after: Number(after) };
  throw invalidField("Last-Event-ID", "number", "The header must be the id of an event of this stream.");
}

function read(url: string, check: Check): object {
  const values = readQuery(url);
  const { types, after } = values;
  if (types !== undefined) values["types"] = (types as string).split(",");
  if (after !== undefined) values["after"] = toPosition(after);
  const report = check(values);
  if (report === true) return values;
  throw appError("VALIDATION_FAILED", { errors: report.map(aboutParameter) });
}

/** Only digits, so that " " is no 0 and "0x10" no 16. A sequence may have its leading zeros, as no other number. */
function toPosition(value: unknown): unknown {
  return typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : value;
}

/** The client gave one parameter, not an array. */
function aboutParameter({ field, ...error }: FieldError): FieldError {
  return { ...error, field: field.replace(/\[\d+\]$/, "") };
}

/** Whether an event is one that the reader wants. */
export function isWanted({ type, subject }: CloudEvent, filter: EventFilter): boolean {
  if (filter.types && !filter.types.includes(type)) return false;
  // Ids of clients may be in capitals.
  return filter.subject === undefined || filter.subject.toLowerCase() === subject;
}
