import type { Logger } from "pino";
import type { CloudEvent } from "../lib/cloud-event.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
import type { Database } from "../lib/database.ts";
import { Wakeup } from "../lib/waiting.ts";
import { describe } from "./durable-consumer.attempt.ts";

interface ReplayOptions {
  consumer: string;
  database: Database;
  log: Logger;
  handle: (event: CloudEvent, transaction: DatabaseTransaction) => Promise<boolean>;
  wakeRelay: () => void;
}

const TAKE = {
  name: "durable-consumer.take-replay",
  text: `
    UPDATE events.dead_letter SET replay_requested_at = NULL, attempts = attempts + 1, last_failed_at = now()
    WHERE (consumer, event_id) = (
      SELECT consumer, event_id FROM events.dead_letter WHERE consumer = $1 AND replay_requested_at IS NOT NULL
      ORDER BY sequence LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING event_id AS id`,
};
const HOLD = {
  name: "durable-consumer.hold-replay",
  text: `SELECT event FROM events.dead_letter
    WHERE consumer = $1 AND event_id = $2 AND replayed_at IS NULL FOR UPDATE`,
};
const REPLAYED = {
  name: "durable-consumer.replayed",
  text: `UPDATE events.dead_letter SET replayed_at = now() WHERE consumer = $1 AND event_id = $2`,
};
const FAILED = {
  name: "durable-consumer.replay-failed",
  text: `UPDATE events.dead_letter SET error_type = $3, error_message = $4 WHERE consumer = $1 AND event_id = $2`,
};

/** How soon a dead letter is replayed when the request was not heard. */
const POLL_MS = 5000;

/**
 * Delivers the dead letters of a consumer again whose replay was asked for. Each request is one attempt, counted before
 * it begins: a dead letter that ends the process must not do so for ever.
 */
export class Replays {
  readonly #options: ReplayOptions;
  readonly #requested = new Wakeup();
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: ReplayOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  wake(): void {
    this.#requested.call();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#replayRequested();
      } catch (error) {
        // That a database is away is said by its monitor.
        this.#options.log.debug({ err: error }, "dead letters cannot be looked at");
      }
      await this.#requested.wait(POLL_MS, signal);
    }
  }

  async #replayRequested(): Promise<void> {
    const { database, consumer } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const [taken] = await database.query<{ id: string }>(TAKE, [consumer]);
      if (!taken) return;
      await replay(this.#options, taken.id);
    }
  }
}

async function replay(
  { database, consumer, log, handle, wakeRelay }: ReplayOptions,
  id: string,
): Promise<void> {
  try {
    const hasRecorded = await database.transaction(async (transaction) => {
      const [letter] = await transaction.query<{ event: CloudEvent }>(HOLD, [consumer, id]);
      if (!letter) return false;
      transaction.enlist(transaction.query(REPLAYED, [consumer, id]));
      return handle(letter.event, transaction);
    });
    if (hasRecorded) wakeRelay();
    log.info({ consumer, event: id }, "a dead letter was replayed");
  } catch (error) {
    log.error({ consumer, event: id, err: error }, "a dead letter was not handled again");
    const { errorType, errorMessage } = describe(error);
    await database.query(FAILED, [consumer, id, errorType, errorMessage]);
  }
}
