import { DOMAIN_EVENTS, type DomainEventMap } from "./contracts.ts";
import type { EventDefinition } from "./event-definition.ts";

export type DomainEventType = keyof DomainEventMap;

/**
 * A domain event as it leaves the system: CloudEvents 1.0 in its JSON format, with extension attributes of ours.
 * `docs/events.md` describes each member.
 */
export type CloudEvent<Type extends DomainEventType = DomainEventType> = {
  [T in Type]: {
    specversion: "1.0";
    /** UUIDv7, the same in every delivery of the event. */
    id: string;
    source: string;
    type: T;
    /** Id of the resource. */
    subject: string;
    /** When the change was made. ISO 8601 in UTC. */
    time: string;
    datacontenttype: "application/json";
    data: DomainEventMap[T];
    /** Position in the log, without gaps; see {@link formatSequence}. */
    sequence: string;
    /** Who made the change: see `actorOf`. */
    actor: string;
    requestid: string;
    /** Names of the fields that the change set, separated by commas: an attribute can be no list. */
    changedfields: string;
    /** Where `data` is, in a message of the stream that goes without it: CloudEvents extension "dataref". */
    dataref?: string;
    /** W3C trace context of the request, when it had one. */
    traceparent?: string;
  };
}[Type];

/** Decimal digits of the largest safe integer. */
export const SEQUENCE_DIGITS = 16;

/**
 * A sequence number as the attribute has it. Zero-padded, as the CloudEvents extension "sequence" asks for a text that
 * sorts like the number; integers of CloudEvents end at 2^31.
 */
function formatSequence(sequence: number): string {
  return String(sequence).padStart(SEQUENCE_DIGITS, "0");
}

/** An event as the log keeps it. */
export type LoggedEvent = {
  [Type in DomainEventType]: {
    /** Position in the log. */
    sequence: number;
    id: string;
    type: Type;
    subject: string;
    data: DomainEventMap[Type];
    actor: string;
    requestId: string;
    changedFields: readonly string[];
    /** ISO 8601 in UTC. */
    occurredAt: string;
  };
}[DomainEventType];

/**
 * The columns of `events.log` under the names of a {@link LoggedEvent}, for the list of a SELECT. Order by
 * `log.sequence`: a bare `sequence` would be the number of the list, which no index has.
 */
export const LOGGED_EVENT_COLUMNS = `sequence::float8 AS sequence, id, type, subject, data, actor,
  request_id AS "requestId", changed_fields AS "changedFields", occurred_at AS "occurredAt"`;

/** Undefined for a type that this version does not have: the log keeps what an older or newer one has written. */
export function definitionOf(type: string): EventDefinition | undefined {
  return (DOMAIN_EVENTS as Readonly<Record<string, EventDefinition>>)[type];
}

/** The envelope in which an event leaves the system. It is the same each time, wherever it is made. */
export function toCloudEvent(event: LoggedEvent): CloudEvent {
  return {
    specversion: "1.0",
    id: event.id,
    source: definitionOf(event.type)?.source ?? "/rollcall",
    type: event.type,
    subject: event.subject,
    time: event.occurredAt,
    datacontenttype: "application/json",
    data: event.data,
    sequence: formatSequence(event.sequence),
    actor: event.actor,
    requestid: event.requestId,
    changedfields: event.changedFields.join(","),
  } as CloudEvent;
}

/** An event without its data, which says where that is: in the feed of the gateway. */
export function byReference(event: CloudEvent): Omit<CloudEvent, "data"> {
  const { data: _data, ...withoutData } = event;
  return { ...withoutData, dataref: `/api/v1/events?after=${Number(event.sequence) - 1}&limit=1` };
}
