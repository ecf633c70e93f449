import type { Logger } from "pino";
import type { CloudEvent } from "../lib/cloud-event.ts";
import type { DatabaseTransaction } from "../lib/database-connection.ts";
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
}

const TAKE = {
  name: "durable-consumer.take-replay",
  text: `
    UPDATE events.dead_letter SET replay_requested_at = NULL, attempts = attempts + 1, last_failed_at = now()
    WHERE (consumer, event_id) = (
      SELECT consumer, event_id FROM events.dead_letter
      WHERE consumer = $1 AND type = ANY ($2) AND replay_requested_at IS NOT NULL
      ORDER BY sequence LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING event_id AS id, subject`,
};
const GIVE_BACK = {
  name: "durable-consumer.give-replay-back",
  text: `UPDATE events.dead_letter SET replay_requested_at = now(), attempts = attempts - 1
    WHERE consumer = $1 AND event_id = $2`,
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

/** How soon a dead letter is replayed when the request was not heard, and again when what it needs was away. */
const POLL_MS = 5000;
/** How soon it is tried again while an instance is at work on the resource. */
const BUSY_MS = 100;

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
      await database.query(GIVE_BACK, [consumer, letter.id]);
      await pause(outcome === "busy" ? BUSY_MS : POLL_MS, this.#stopping.signal);
    }
  }

  async #replay({ id, subject }: Letter): Promise<"settled" | "busy" | "away"> {
    const { consumer, database, log, handle } = this.#options;
    try {
      const isOurs = await database.transaction(async (transaction) => {
        if (!(await tryLock(transaction, consumer, subject))) return false;
        const [letter] = await transaction.query<{ event: CloudEvent }>(HOLD, [consumer, id]);
        if (!letter) return true;
        transaction.enlist(transaction.query(REPLAYED, [consumer, id]));
        await handle(letter.event, transaction);
        return true;
      });
      if (!isOurs) return "busy";
      log.info({ consumer, event: id }, "a dead letter was replayed");
      return "settled";
    } catch (error) {
      log.error({ consumer, event: id, err: error }, "a dead letter was not handled again");
      if (isOutage(error)) return "away";
      const { errorType, errorMessage } = describe(error);
      await database.query(FAILED, [consumer, id, errorType, errorMessage]);
      return "settled";
    }
  }
}
