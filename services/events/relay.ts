import type { Logger } from "pino";
import { isDatabaseUnavailable } from "../../lib/database-errors.ts";
import type { Database } from "../../lib/database.ts";
import { pause, retry, Wakeup } from "../../lib/waiting.ts";
import type { EventStream } from "./event-stream.ts";
import { beginTerm, moveToLog } from "./events.repository.ts";
import { PublishCounts, Publisher } from "./publisher.ts";
import { RelaySession } from "./relay-session.ts";
import { retain } from "./retention.ts";
import type { Deletion } from "./retention.repository.ts";

/** How soon a relay that does not lead looks again whether it may, and one that has failed tries again. */
const RETRY_MS = 500;

/** Rows moved in one transaction: a longer one would hold up those that want to change its rows. */
const MOVE_BATCH = 1000;

/** Up to so many are given to the publisher as they were moved; it reads more from the log. */
const MAX_HANDED_OVER = 100;

/** Sent after the commit of a unit of work that has written to the outbox, and by a replay. */
const OUTBOX_CHANNEL = "events_outbox";

interface RelayOptions {
  database: Database;
  log: Logger;
  nodeId: string;
  /** How often the outbox is looked into without having been woken. */
  pollIntervalMs: number;
  /** What the leader deletes when it is too old. */
  deletions: readonly Deletion[];
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
  readonly #counts = new PublishCounts();
  #running: Promise<unknown> | undefined;
  #isLeader = false;
  /** Whether the log of the node says that it fails. */
  #isReported = false;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  get isLeader(): boolean {
    return this.#isLeader;
  }

  /** Events that this relay has published since it was made, replays among them. */
  get publishedCount(): number {
    return this.#counts.published;
  }

  /** Attempts to publish that ended in an error. */
  get failureCount(): number {
    return this.#counts.failed;
  }

  start(): void {
    const { signal } = this.#stopping;
    this.#running = retry(() => this.#serve(signal), {
      waitMs: RETRY_MS,
      until: signal,
      onError: (error) => this.#report(error),
    });
  }

  /** Gives the leadership up when what is under way is done. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Once, for as long as it lasts. That a database is away is said by its monitor. */
  #report(error: Error): void {
    const { log } = this.#options;
    if (this.#isReported || isDatabaseUnavailable(error)) {
      log.debug({ err: error }, "the relay is interrupted");
      return;
    }
    this.#isReported = true;
    log.error({ err: error }, "events cannot be moved to the log");
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
    const publisher = this.#createPublisher(session);
    const toMove = new Wakeup();
    await session.listen(OUTBOX_CHANNEL, () => toMove.call());
    const { deletions, ...options } = this.#options;
    const loops = [
      this.#move(session, { toMove, publisher, until }),
      publisher?.run(until) ?? Promise.resolve(),
      retain(deletions, { ...options, until }),
    ];
    // When one fails, the others end before the session is closed.
    for (const loop of loops) loop.catch((error: unknown) => failure.abort(error));
    await Promise.allSettled(loops);
    failure.signal.throwIfAborted();
    session.lost.throwIfAborted();
  }

  #createPublisher(session: RelaySession): Publisher | undefined {
    const { stream, ...options } = this.#options;
    return stream && new Publisher({ ...options, stream }, session, this.#counts);
  }

  async #move(
    session: RelaySession,
    { toMove, publisher, until }: { toMove: Wakeup; publisher: Publisher | undefined; until: AbortSignal },
  ): Promise<void> {
    const size = { limit: MOVE_BATCH, returned: publisher ? MAX_HANDED_OVER : 0 };
    while (!until.aborted) {
      const moved = await moveToLog(session, size);
      if (this.#isReported) this.#options.log.info("events are moved to the log again");
      this.#isReported = false;
      if (moved) this.#options.onAppended(moved.head);
      if (moved && moved.events.length > 0) publisher?.take(moved.events);
      else publisher?.wake();
      if (moved?.count !== MOVE_BATCH) await toMove.wait(this.#options.pollIntervalMs, until);
    }
  }
}
