import type { Logger } from "pino";
import { Slots } from "../lib/slots.ts";
import { pause } from "../lib/waiting.ts";
import { DONE, type Notice, type Verdict } from "./durable-consumer.source.ts";

/** What became of a look at a subject. */
export type Step =
  /** Everything up to the number is handled. */
  | { kind: "done" }
  /** The event at this number is handled; there may be more. */
  | { kind: "handled"; sequence: number }
  /** Another instance is at work on the subject. */
  | { kind: "busy" }
  /** The next event waits for its next attempt. */
  | { kind: "later"; retryInMs: number }
  /** The next event may have ended a process. */
  | { kind: "suspicious" };

/** How an event is handled. */
export type Approach =
  | "first time"
  /** It was given out before: unless that is explained by a failure, it may have ended a process. */
  | "again"
  /** It may have ended a process: the attempt is counted before it begins. */
  | "suspect";

interface DeliveriesOptions {
  log: Logger;
  /** How many subjects are worked on at the same time. */
  concurrency: number;
  /** Handles the first event of a subject, up to a number, that is not handled yet. */
  step: (subject: string, through: number, approach: Approach) => Promise<Step>;
}

/** After this time a subject is looked at again that could not be looked at. */
const UNAVAILABLE_MS = 1000;
const BUSY_MIN_MS = 5;
const BUSY_MAX_MS = 250;

interface Waiting {
  notice: Notice;
  settle: (verdict: Verdict) => void;
}

/** Works on notices: those of one subject one after the other, those of several subjects at the same time. */
export class Deliveries {
  readonly #options: DeliveriesOptions;
  readonly #lanes = new Map<string, Waiting[]>();
  readonly #slots: Slots;
  /** One at a time: of several, all would be counted against when one of them ends the process. */
  readonly #suspects = new Slots(1);
  readonly #stopping = new AbortController();

  constructor(options: DeliveriesOptions) {
    this.#options = options;
    this.#slots = new Slots(options.concurrency);
  }

  /** Settles when the event of the notice, and those of its subject before it, are handled or have to wait. */
  handle(notice: Notice): Promise<Verdict> {
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const waiting = { notice, settle: resolve };
    const lane = this.#lanes.get(notice.subject);
    if (lane) lane.push(waiting);
    else {
      const opened = [waiting];
      this.#lanes.set(notice.subject, opened);
      void this.#work(notice.subject, opened);
    }
    return promise;
  }

  /** What is being handled is finished, what has not been begun is given back. */
  stop(): void {
    this.#stopping.abort();
    this.#suspects.open();
    this.#slots.open();
  }

  async #work(subject: string, lane: Waiting[]): Promise<void> {
    while (lane.length > 0) {
      const batch = lane.splice(0);
      const through = Math.max(...batch.map(({ notice }) => notice.sequence));
      const isRepeated = batch.some(({ notice }) => notice.isRepeated);
      const { handled, verdict } = await this.#catchUp(subject, through, isRepeated);
      for (const { notice, settle } of batch) settle(notice.sequence <= handled ? DONE : verdict);
    }
    this.#lanes.delete(subject);
  }

  /** Handles the events of a subject up to a number, one after the other. */
  async #catchUp(
    subject: string,
    through: number,
    isRepeated: boolean,
  ): Promise<{ handled: number; verdict: Verdict }> {
    let handled = 0;
    let busyMs = BUSY_MIN_MS;
    let approach: Approach = isRepeated ? "again" : "first time";
    while (!this.#stopping.signal.aborted) {
      const step = await this.#step(subject, through, approach);
      switch (step.kind) {
        case "done":
          return { handled: through, verdict: DONE };
        case "handled":
          handled = step.sequence;
          if (handled >= through) return { handled, verdict: DONE };
          // What ended a process was the first that was not handled.
          approach = "first time";
          break;
        case "later":
          return { handled, verdict: { isDone: false, retryInMs: step.retryInMs } };
        case "suspicious":
          approach = "suspect";
          break;
        case "busy":
          await pause(busyMs * (0.5 + Math.random()), this.#stopping.signal);
          busyMs = Math.min(busyMs * 2, BUSY_MAX_MS);
      }
    }
    return { handled, verdict: { isDone: false, retryInMs: 0 } };
  }

  async #step(subject: string, through: number, approach: Approach): Promise<Step> {
    const step = (): Promise<Step> => this.#slots.run(() => this.#begin(subject, through, approach));
    // One that waits for its turn must not keep others waiting.
    return approach === "suspect" ? this.#suspects.run(step) : step();
  }

  async #begin(subject: string, through: number, approach: Approach): Promise<Step> {
    if (this.#stopping.signal.aborted) return { kind: "later", retryInMs: 0 };
    try {
      return await this.#options.step(subject, through, approach);
    } catch (error) {
      // The database is away: nothing is known of the event, and nothing could be remembered.
      this.#options.log.warn({ err: error, subject }, "a resource cannot be looked at");
      return { kind: "later", retryInMs: UNAVAILABLE_MS };
    }
  }
}
