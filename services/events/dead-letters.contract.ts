import type { CloudEvent } from "../../lib/cloud-event.ts";
import type { Infer } from "../../lib/validation.ts";

/** An event that a durable consumer could not handle. Dates are ISO 8601 in UTC. */
export interface DeadLetter {
  consumer: string;
  /** The whole event, with its id. */
  event: CloudEvent;
  /** Of the last attempt: the code of an error of ours, else its name. */
  errorType: string;
  errorMessage: string;
  /** Replays are counted too. */
  attempts: number;
  firstFailedAt: string;
  lastFailedAt: string;
  /** When its replay was asked for; null when that is done, whether well or not. */
  replayRequestedAt: string | null;
  /** When it was handled after all. */
  replayedAt: string | null;
}

/** A page of dead letters; `nextCursor` is null on the last one. */
export interface DeadLetterPage {
  data: DeadLetter[];
  nextCursor: string | null;
}

const consumer = { type: "string", min: 1, max: 63, optional: true } as const;

export const listDeadLettersParams = {
  $$strict: true,
  limit: { type: "number", integer: true, min: 1, max: 100, convert: true, default: 20 },
  cursor: { type: "string", min: 1, max: 1000, optional: true },
  consumer,
  /** Whether to list those that were handled after all, in place of those that were not. */
  isReplayed: { type: "boolean", convert: true, default: false },
} as const;
export const replayDeadLetterParams = {
  $$strict: true,
  /** Of the event. */
  id: { type: "uuid" },
  /** Absent: every consumer that gave the event up. */
  consumer,
} as const;

export type ListDeadLetters = Infer<typeof listDeadLettersParams>;

export interface DeadLetterActions {
  /** The last failed first. @throws INVALID_CURSOR */
  "events.deadLetters": { params: Partial<ListDeadLetters>; result: DeadLetterPage };
  /**
   * Asks for one more attempt; the result is how many consumers were asked. One that has handled the event meanwhile is
   * not. Later events of the resource were handled before it, which its handler has to bear.
   *
   * @throws DEAD_LETTER_NOT_FOUND
   */
  "events.replayDeadLetter": { params: Infer<typeof replayDeadLetterParams>; result: { requested: number } };
}

export interface DeadLetterHints {
  /** A durable consumer has dead letters to replay; it also looks by itself now and then. */
  "dead-letter-replay-requested": Record<string, never>;
}
