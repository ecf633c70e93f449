import type { Logger } from "pino";
import type { Database } from "../../lib/database.ts";
import { pause, Wakeup } from "../../lib/waiting.ts";
import type { EventStream } from "./event-stream.ts";
import {
  advancePublished,
  beginTerm,
  deleteOldEvents,
  moveToLog,
  readUnpublished,
  type Unpublished,
} from "./events.repository.ts";
import { RelaySession } from "./relay-session.ts";

/** How soon a relay that does not lead looks again whether it may, and one that has failed tries again. */
const RETRY_MS = 500;

/** Rows moved in one transaction: a longer one would hold up those that want to change its rows. */
const MOVE_BATCH = 1000;

/** Events that are on their way to the stream at once. */
const PUBLISH_BATCH = 1000;

/** One failure alone is nothing to report: NATS is not yet known to be up while a node starts. */
const FAILURES_TO_REPORT = 2;

const RETENTION_INTERVAL_MS = 10 * 60_000;
const RETENTION_BATCH = 1000;

/** Sent after the commit of a unit of work that has written to the outbox, and by a replay. */
const OUTBOX_CHANNEL = "events_outbox";

interface RelayOptions {
  database: Database;
  log: Logger;
  nodeId: string;
  /** How often the outbox is looked into without having been woken. */
  pollIntervalMs: number;
  retentionDays: number;
  /** Undefined without NATS: then events are moved to the log and not published. */
  stream: EventStream | undefined;
  /** Called when the log has grown up to this number. */
  onAppended: (sequence: number) => void;
}

/**
 * Moves events from the outbox to the log and publishes them from there. Of all relays of a database one leads; the
 * others wait for its place.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #isLeader = false;
  #failuresInARow = 0;
  #publishedCount = 0;
  #failureCount = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  get isLeader(): boolean {
    return this.#isLeader;
  }

  /** Events that this relay has published since it was made, replays among them. */
  get publishedCount(): number {
    return this.#publishedCount;
  }

  /** Attempts to publish that ended in an error. */
  get failureCount(): number {
    return this.#failureCount;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Gives the leadership up when what is under way is done. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#serve(signal);
      } catch (error) {
        // That a database is away is said by its monitor.
        this.#options.log.debug({ err: error }, "the relay is interrupted");
      }
      await pause(RETRY_MS, signal);
    }
  }

  async #serve(stopping: AbortSignal): Promise<void> {
    const { database, nodeId, log } = this.#options;
    const session = await RelaySession.open(database);
    try {
      while (!(await session.tryToLead())) {
        await pause(RETRY_MS, stopping);
        if (stopping.aborted) return;
      }
      await beginTerm(session, nodeId);
      log.info("the relay of this node leads");
      this.#isLeader = true;
      await this.#lead(session, stopping);
    } finally {
      if (this.#isLeader) log.info("the relay of this node leads no more");
      this.#isLeader = false;
      await session.close();
    }
  }

  /** Settles when the leadership is over; rejects with the reason when it was lost. */
  async #lead(session: RelaySession, stopping: AbortSignal): Promise<void> {
    const failure = new AbortController();
    const until = AbortSignal.any([stopping, session.lost, failure.signal]);
    const toMove = new Wakeup();
    const toPublish = new Wakeup();
    await session.listen(OUTBOX_CHANNEL, () => {
      toMove.call();
      toPublish.call();
    });
    const loops = [
      this.#move(session, { toMove, toPublish, until }),
      this.#publish(session, { toPublish, until }),
      this.#deleteOld(until),
    ];
    // When one ends, so do the others, before the session is closed.
    for (const loop of loops) loop.catch((error: unknown) => failure.abort(error));
    await Promise.allSettled(loops);
    failure.signal.throwIfAborted();
    session.lost.throwIfAborted();
  }

  async #move(
    session: RelaySession,
    { toMove, toPublish, until }: { toMove: Wakeup; toPublish: Wakeup; until: AbortSignal },
  ): Promise<void> {
    while (!until.aborted) {
      const moved = await moveToLog(session, MOVE_BATCH);
      if (moved) {
        toPublish.call();
        this.#options.onAppended(moved.head);
      }
      if (moved?.count !== MOVE_BATCH) await toMove.wait(this.#options.pollIntervalMs, until);
    }
  }

  async #publish(
    session: RelaySession,
    { toPublish, until }: { toPublish: Wakeup; until: AbortSignal },
  ): Promise<void> {
    const { stream, database, pollIntervalMs } = this.#options;
    if (!stream) return;
    while (!until.aborted) {
      const unpublished = await readUnpublished(database, PUBLISH_BATCH);
      const { events } = unpublished;
      const { confirmed, error } = await stream.publish(events, () => session.isAlive && !until.aborted);
      await this.#advance(session, unpublished, confirmed);
      this.#note(error);
      if (error !== undefined) await pause(RETRY_MS, until);
      else if (events.length < PUBLISH_BATCH) await toPublish.wait(pollIntervalMs, until);
    }
  }

  async #advance(session: RelaySession, unpublished: Unpublished, confirmed: number): Promise<void> {
    const last = unpublished.events[confirmed - 1];
    if (!last) return;
    await advancePublished(session, unpublished, last.sequence);
    this.#publishedCount += confirmed;
  }

  /** Counts, and says once that publishing fails, and once that it works again. */
  #note(error: Error | undefined): void {
    const { log } = this.#options;
    if (error === undefined) {
      if (this.#failuresInARow >= FAILURES_TO_REPORT) log.info("events are published again");
      this.#failuresInARow = 0;
      return;
    }
    this.#failureCount += 1;
    this.#failuresInARow += 1;
    if (this.#failuresInARow !== FAILURES_TO_REPORT) return;
    log.error({ err: error }, "events cannot be published; they wait in the log");
  }

  async #deleteOld(until: AbortSignal): Promise<void> {
    const { database, retentionDays, stream } = this.#options;
    const step = { limit: RETENTION_BATCH, days: retentionDays, isPublished: stream !== undefined };
    while (!until.aborted) {
      const deleted = await deleteOldEvents(database, step);
      if (deleted < RETENTION_BATCH) await pause(RETENTION_INTERVAL_MS, until);
    }
  }
}
