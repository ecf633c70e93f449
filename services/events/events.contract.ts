import type { Readable } from "node:stream";
import type { CloudEvent, DomainEventType } from "../../lib/cloud-event.ts";
import { DOMAIN_EVENTS } from "../../lib/contracts.ts";
import type { HealthReport } from "../../lib/health.ts";
import type { Infer } from "../../lib/validation.ts";
import type { DeadLetterActions, DeadLetterHints } from "./dead-letters.contract.ts";

/** How far the relay is. Of several nodes any one can tell. */
export interface EventsStatus {
  /** Events that wait in the outbox to be moved to the log. */
  pending: number;
  /** Age of the oldest of them; 0 when there is none. */
  oldestPendingSeconds: number;
  /** Sequence number of the last event in the log; 0 when there never was one. */
  head: number;
  /** All events up to this number are confirmed by the stream. Stays as it is on a system without NATS. */
  published: number;
  /** Node that leads, or led last; null when there never was one. */
  leader: string | null;
  /** ISO 8601 in UTC. */
  leaderSince: string | null;
  /** Messages in the stream; null when NATS is not used or does not answer. */
  streamMessages: number | null;
}

/** A part of the log, in order. */
export interface EventPage {
  data: CloudEvent[];
  /**
   * The position to go on from. It is beyond the last event of the page when those up to it are not of the kind that
   * was asked for.
   */
  nextAfter: number;
  /** Sequence number of the last event in the log, of whatever kind. */
  lastSequence: number;
}

/** Sequence numbers of the first and the last event that are published again. */
export interface Replay {
  from: number;
  to: number;
}

/** Actions of the events service. */
export interface EventsActions extends DeadLetterActions {
  "events.health": { params: Record<string, never>; result: HealthReport };
  /**
   * Without `after`: from the oldest event that is kept. A page may be shorter than `limit` before the end of the log.
   *
   * @throws EVENTS_EXPIRED, and VALIDATION_FAILED for a position that the log has not reached
   */
  "events.list": { params: Partial<ListEvents>; result: EventPage };
  /** The same as JSON in pieces of text, for a page that is too large for a message: see `listEvents`. */
  "events.listInPieces": { params: Partial<ListEvents>; result: Readable };
  "events.status": { params: Record<string, never>; result: EventsStatus };
  /**
   * Makes the relay publish again, from a sequence number on, what it has published: for consumers of a stream that was
   * lost. The ids of the events stay the same. Null when nothing of it was published yet, or is left in the log.
   */
  "events.replay": { params: Infer<typeof replayParams>; result: Replay | null };
}

/** Transient events of the events service. */
export interface EventsHints extends DeadLetterHints {
  /** The log has grown up to this sequence number. A hint: who reads the log also looks by himself now and then. */
  "events-appended": { sequence: number };
}

export const statusParams = { $$strict: true } as const;

export const EVENT_TYPES = Object.keys(DOMAIN_EVENTS) as DomainEventType[];

export const listEventsParams = {
  $$strict: true,
  after: { type: "number", integer: true, min: 0, max: Number.MAX_SAFE_INTEGER, optional: true },
  types: {
    type: "array",
    min: 1,
    unique: true,
    items: {
      type: "enum",
      values: EVENT_TYPES,
      messages: { enumValue: "There is no event of this type." },
    },
    optional: true,
  },
  subject: { type: "uuid", optional: true },
  limit: { type: "number", integer: true, min: 1, max: 1000, default: 100 },
} as const;

export type ListEvents = Infer<typeof listEventsParams>;

export const replayParams = {
  $$strict: true,
  from: { type: "number", integer: true, min: 1, max: Number.MAX_SAFE_INTEGER },
} as const;
