import type { Logger } from "pino";
import type { Database } from "../../lib/database.ts";
import { pause, Wakeup } from "../../lib/waiting.ts";
import { Erasures } from "./erasures.ts";
import type { EventStream } from "./event-stream.ts";
import {
  advancePublished,
  readUnpublished,
  type PublishState,
  type UnpublishedEvent,
} from "./events.repository.ts";
import type { RelaySession } from "./relay-session.ts";

/** How soon it is tried again after an event could not be published. */
const RETRY_MS = 500;

/** Events that are on their way to the stream at once. */
const BATCH = 1000;

/** How long it may take until it is written down that events are confirmed. If it is not, they are sent again. */
const SAVE_AFTER_MS = 100;

/** One failure alone is nothing to report: NATS is not yet known to be up while a node starts. */
const FAILURES_TO_REPORT = 2;

interface PublisherOptions {
  database: Database;
  log: Logger;
  stream: EventStream;
  /** How often the log is looked into without having been woken. */
  pollIntervalMs: number;
}

/** Counts of what was published, for metrics. */
export class PublishCounts {
  /** Events, replays among them. */
  published = 0;
  /** Attempts that ended in an error. */
  failed = 0;
}

/** Publishes the log, from the first event on that the stream has not confirmed, for as long as its session leads. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #session: RelaySession;
  readonly #counts: PublishCounts;
  readonly #news = new Wakeup();
  readonly #erasures: Erasures;
  /** What was found last in the database; undefined when it is to be looked there again. */
  #found: PublishState | undefined;
  /** Events up to here are confirmed. */
  #confirmed = 0;
  #lastSavedAt = 0;
  /** Events that were just moved to the log, one following the other. */
  #moved: UnpublishedEvent[] = [];
  #failuresInARow = 0;

  constructor(options: PublisherOptions, session: RelaySession, counts: PublishCounts) {
    this.#options = options;
    this.#session = session;
    this.#counts = counts;
    this.#erasures = new Erasures(options);
  }

  /** The log may have grown, or a replay have set the publisher back. */
  wake(): void {
    this.#news.call();
  }

  /** Spares the publisher a look into the log, to which these events were just moved. */
  take(moved: UnpublishedEvent[]): void {
    const follows =
      this.#moved.length < BATCH && this.#moved.at(-1)?.sequence === (moved[0]?.sequence ?? 0) - 1;
    this.#moved = follows ? [...this.#moved, ...moved] : moved;
    this.wake();
  }

  /** @throws the errors of the database, with which the leadership is over */
  async run(until: AbortSignal): Promise<void> {
    const { stream, pollIntervalMs } = this.#options;
    const mayPublish = (): boolean => this.#session.isAlive && !until.aborted;
    while (!until.aborted) {
      const events = await this.#next();
      const { positions, error } = await stream.publish(events, mayPublish);
      this.#confirmed = events[positions.length - 1]?.sequence ?? this.#confirmed;
      this.#counts.published += positions.length;
      for (const [index, event] of events.slice(0, positions.length).entries())
        this.#erasures.begin(event, positions[index] as number, until);
      this.#note(error);
      if (error !== undefined) await pause(RETRY_MS, until);
      else if (events.length < BATCH) {
        const isAllSaved = this.#found?.published === this.#confirmed;
        await this.#news.wait(isAllSaved ? pollIntervalMs : SAVE_AFTER_MS, until);
      }
    }
    await this.#erasures.settled();
    await this.#save();
  }

  /** The next events: those that were just moved, else what the log has. */
  async #next(): Promise<UnpublishedEvent[]> {
    const moved = this.#moved;
    this.#moved = [];
    if (performance.now() > this.#lastSavedAt + SAVE_AFTER_MS) await this.#save();
    if (this.#found && moved[0]?.sequence === this.#confirmed + 1) return moved;
    await this.#save();
    const known = this.#found && { after: this.#confirmed, replays: this.#found.replays };
    const { state, events } = await readUnpublished(this.#options.database, BATCH, known);
    if (state.replays !== known?.replays) this.#confirmed = state.published;
    this.#found = state;
    return events;
  }

  async #save(): Promise<void> {
    this.#lastSavedAt = performance.now();
    // What has to be erased is published again unless that is done.
    const published = Math.min(this.#confirmed, this.#erasures.first - 1);
    if (!this.#found || this.#found.published === published) return;
    const isOurs = await advancePublished(this.#session, this.#found, published);
    this.#found = isOurs ? { ...this.#found, published } : undefined;
  }

  /** Counts, and says once that publishing fails, and once that it works again. */
  #note(error: Error | undefined): void {
    const { log } = this.#options;
    if (error === undefined) {
      if (this.#failuresInARow >= FAILURES_TO_REPORT) log.info("events are published again");
      this.#failuresInARow = 0;
      return;
    }
    this.#counts.failed += 1;
    this.#failuresInARow += 1;
    if (this.#failuresInARow !== FAILURES_TO_REPORT) return;
    log.error({ err: error }, "events cannot be published; they wait in the log");
  }
}
