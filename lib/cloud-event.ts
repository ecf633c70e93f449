import type { DomainEventMap } from "./contracts.ts";

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
    /** W3C trace context of the request, when it had one. */
    traceparent?: string;
  };
}[Type];

/** Decimal digits of the largest safe integer. */
const SEQUENCE_DIGITS = 16;

/**
 * A sequence number as the attribute has it. Zero-padded, as the CloudEvents extension "sequence" asks for a text that
 * sorts like the number; integers of CloudEvents end at 2^31.
 */
export function formatSequence(sequence: number): string {
  return String(sequence).padStart(SEQUENCE_DIGITS, "0");
}
