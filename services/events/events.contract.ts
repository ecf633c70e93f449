import type { HealthReport } from "../../lib/health.ts";

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

/** Actions of the events service. */
export interface EventsActions {
  "events.health": { params: Record<string, never>; result: HealthReport };
  "events.status": { params: Record<string, never>; result: EventsStatus };
}

/** Transient events of the events service. */
export interface EventsHints {
  /** The log has grown up to this sequence number. A hint: who reads the log also looks by himself now and then. */
  "events-appended": { sequence: number };
}

export const statusParams = { $$strict: true } as const;
