import type { Logger } from "pino";
import type { CloudEvent } from "../lib/cloud-event.ts";
import type { DatabaseTransaction, Statement } from "../lib/database-connection.ts";
import { isDatabaseUnavailable } from "../lib/database-errors.ts";
import type { Database } from "../lib/database.ts";
import { pause, repeat, Wakeup } from "../lib/waiting.ts";
import { describe, isOutage } from "./durable-consumer.failure.ts";
import { tryLock } from "./durable-consumer.store.ts";

interface ReplayOptions {
  consumer: string;
  types: readonly string[];
  database: Database;
  log: Logger;
  handle: (event: CloudEvent, transaction: DatabaseTransaction) => Promise<void>;
}

/** A dead letter whose replay was asked for, and is now ours. */
interface Letter {
  id: string;
  subject: string;
  /** With this one. */
  attempts: number;
}

type Outcome = "settled" | "busy" | "away";

const TAKE = {
  name: "durable-consumer.take-replay",
  text: `
    UPDATE events.dead_letter SET replay_requested_at = NULL, attempts = attempts + 1, last_failed_at = now()
    WHERE (consumer, event_id) = (
      SELECT consumer, event_id FROM events.dead_letter
      WHERE consumer = $1 AND type = ANY ($2) AND replay_requested_at IS NOT NULL
      ORDER BY sequence LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING event_id AS id, subject, attempts`,
};
/** Unless this was written before, and the answer lost, or what seemed to fail was committed. */
const OF_THIS_ATTEMPT = "consumer = $1 AND event_id = $2 AND attempts = $3 AND replayed_at IS NULL";
const GIVE_BACK = {
  name: "durable-consumer.give-replay-back",
  text: `UPDATE events.dead_letter SET replay_requested_at = now(), attempts = attempts - 1 WHERE ${OF_THIS_ATTEMPT}`,
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
  // The subject may have been erased since the event was read: then what is said of it is not kept.
  text: `UPDATE events.dead_letter SET error_type = $4, error_message = CASE WHEN event <> $6 THEN '' ELSE $5 END
    WHERE ${OF_THIS_ATTEMPT}`,
};

/** How soon a dead letter is replayed when the request was not heard, and again when what it needs was away. */
const POLL_MS = 5000;
/** How soon it is tried again while an instance is at work on the resource. */
const BUSY_MS = 100;
/** How soon it is tried again to write what became of an attempt. */
const WRITE_RETRY_MS = 500;

/**
 * Delivers the dead letters of a consumer again whose replay was asked for. Each request is one attempt, counted before
 * it begins: a dead letter that ends the process must not do so for ever. Like any event, it is handled while no other
 * of its resource is.
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
    this.#running = repeat(() => this.#replayRequested(), {
      wakeup: this.#requested,
      everyMs: POLL_MS,
      until: this.#stopping.signal,
      // That a database is away is said by its monitor.
      onError: (error) => this.#options.log.debug({ err: error }, "dead letters cannot be looked at"),
    });
  }

  wake(): void {
    this.#requested.call();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #replayRequested(): Promise<void> {
    const { database, consumer, types } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const [letter] = await database.query<Letter>(TAKE, [consumer, types]);
      if (!letter) return;
      const outcome = await this.#replay(letter);
      if (outcome === "settled") continue;
      await this.#write(GIVE_BACK, letter);
      await pause(outcome === "busy" ? BUSY_MS : POLL_MS, this.#stopping.signal);
    }
  }

  async #replay(letter: Letter): Promise<Outcome> {
    const { id, subject } = letter;
    const { consumer, database, log, handle } = this.#options;
    let event: CloudEvent | undefined;
    try {
      const isOurs = await database.transaction(async (transaction) => {
        if (!(await tryLock(transaction, consumer, subject))) return false;
        const [held] = await transaction.query<{ event: CloudEvent }>(HOLD, [consumer, id]);
        if (!held) return true;
        ({ event } = held);
        transaction.enlist(transaction.query(REPLAYED, [consumer, id]));
        await handle(event, transaction);
        return true;
      });
      if (!isOurs) return "busy";
      log.info({ consumer, event: id }, "a dead letter was replayed");
      return "settled";
    } catch (error) {
      log.error({ consumer, event: id, err: error }, "a dead letter was not handled again");
      if (isOutage(error)) return "away";
      const { errorType, errorMessage } = describe(error);
      await this.#write(FAILED, letter, errorType, errorMessage, event && JSON.stringify(event));
      return "settled";
    }
  }

  /**
   * Writes what became of an attempt, again and again while the database is away: nobody else knows it, and the request
   * would be lost.
   *
   * @throws when the database is still away at a stop
   */
  async #write(statement: Statement, { id, attempts }: Letter, ...values: unknown[]): Promise<void> {
    const { consumer, database, log } = this.#options;
    for (;;) {
      try {
        await database.query(statement, [consumer, id, attempts, ...values]);
        return;
      } catch (error) {
        if (!isDatabaseUnavailable(error) || this.#stopping.signal.aborted) throw error;
        log.debug({ consumer, event: id, err: error }, "what became of a replay cannot be written yet");
      }
      await pause(WRITE_RETRY_MS, this.#stopping.signal);
    }
  }
}
