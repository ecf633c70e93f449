import type { Logger } from "pino";
import type { Database } from "../lib/database.ts";
import { repeat, Wakeup } from "../lib/waiting.ts";
import type { EventSource, Notice, Verdict } from "./durable-consumer.source.ts";

interface LogSourceOptions {
  consumer: string;
  /** The types that it handles, each with the number up to which none is for the consumer. */
  startAfter: ReadonlyMap<string, number>;
  database: Database;
  log: Logger;
}

/** Notices that are being handled: no more is read until half of them are settled. */
const MAX_UNDER_WAY = 500;
/** With those that wait for another attempt. Bounds the memory when everything fails. */
const MAX_OUTSTANDING = 20_000;
const PAGE = 250;
/** How soon the log is looked at when nobody said that it has grown. */
const POLL_MS = 1000;

const POSITION = {
  text: `SELECT position::float8 AS position FROM events.consumer WHERE name = $1`,
};
const HEAD = { name: "durable-consumer.head", text: `SELECT head::float8 AS head FROM events.relay` };
// A scalar, which is looked up row by row. PostgreSQL would make a join of NOT EXISTS, and read all that the consumer has
// in its inbox.
const IS_NEW = `(SELECT true FROM events.inbox WHERE consumer = $1 AND event_id = log.id) IS NULL`;
// Without a name: the best plan depends on how rare the types are.
const READ = {
  text: `
    SELECT subject, sequence::float8 AS sequence FROM events.log
    WHERE log.sequence > $3 AND log.sequence <= $4 AND type = ANY ($2) AND ${IS_NEW}
    ORDER BY log.sequence LIMIT $5`,
};
// Not past what only instances of another version handle: they would miss it when they start again.
const SAVE = {
  name: "durable-consumer.save",
  text: `
    UPDATE events.consumer SET position = $2 WHERE name = $1 AND position < $2 AND NOT EXISTS (
      SELECT FROM events.subscription WHERE consumer = $1 AND type <> ALL ($3) AND start_after < $2
    )`,
};
const LAG = {
  name: "durable-consumer.lag",
  text: `
    SELECT count(*)::float8 AS lag FROM events.log
    WHERE log.sequence > (SELECT position FROM events.consumer WHERE name = $1) AND type = ANY ($2) AND ${IS_NEW}`,
};

/**
 * Hears of events by reading the log, for a system without NATS. Every instance reads the whole log; which of them
 * handles an event is settled by the lock on its subject.
 */
export class LogSource implements EventSource {
  readonly #options: LogSourceOptions;
  readonly #types: readonly string[];
  /** Notices that are not settled, in their order, with the timers of those that wait for another attempt. */
  readonly #outstanding = new Map<Notice, NodeJS.Timeout | undefined>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #news = new Wakeup();
  readonly #stopping = new AbortController();
  #handle: (notice: Notice) => Promise<Verdict> = async () => ({ isDone: false, retryInMs: 0 });
  /** Read up to here; undefined before the first look. */
  #cursor: number | undefined;
  #savedPosition = 0;
  /** What is there at the start may be what the process before ended with. */
  #isFirstPage = true;
  /** The log has more than there was room for. */
  #hasMore = false;
  #running: Promise<void> | undefined;

  constructor(options: LogSourceOptions) {
    this.#options = options;
    this.#types = [...options.startAfter.keys()];
  }

  start(handle: (notice: Notice) => Promise<Verdict>): void {
    this.#handle = handle;
    this.#running = repeat(() => this.#read(), {
      wakeup: this.#news,
      everyMs: POLL_MS,
      until: this.#stopping.signal,
      // That a database is away is said by its monitor.
      onError: (error) => this.#options.log.debug({ err: error }, "the log of events cannot be read"),
    });
  }

  wake(): void {
    this.#news.call();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#outstanding.values()) clearTimeout(timer);
    await this.#running;
    await Promise.all(this.#underWay);
    await this.#savePosition().catch(() => undefined);
  }

  async lag(): Promise<number> {
    const { database, consumer } = this.#options;
    const [row] = await database.query<{ lag: number }>(LAG, [consumer, this.#types]);
    return row?.lag ?? 0;
  }

  /** Where the consumer goes on; one that begins now leaves out all that there was before. */
  async #begin(): Promise<number> {
    const { database, consumer, startAfter } = this.#options;
    const [row] = await database.query<{ position: number }>(POSITION, [consumer]);
    const position = row?.position ?? 0;
    const start = Math.min(...startAfter.values());
    if (position >= start) {
      this.#savedPosition = position;
      return position;
    }
    // Written down before anything is given out, so that what ends this process is known to have come before.
    await this.#save(start);
    this.#isFirstPage = false;
    return start;
  }

  /** Gives out what is new in the log, as far as there is room for it. */
  async #read(): Promise<void> {
    const { database, consumer } = this.#options;
    this.#cursor ??= await this.#begin();
    const [relay] = await database.query<{ head: number }>(HEAD, []);
    const head = relay?.head ?? 0;
    while (this.#cursor < head && this.#hasRoom()) {
      const values: unknown[] = [consumer, this.#types, this.#cursor, head, PAGE];
      const rows = await database.query<Omit<Notice, "isRepeated">>(READ, values);
      this.#cursor = rows.length < PAGE ? head : (rows.at(-1)?.sequence ?? head);
      for (const row of rows) this.#giveOut({ ...row, isRepeated: this.#isFirstPage });
      this.#isFirstPage = false;
    }
    this.#isFirstPage = false;
    this.#hasMore = this.#cursor < head;
    await this.#savePosition();
  }

  #hasRoom(): boolean {
    return (
      !this.#stopping.signal.aborted &&
      this.#underWay.size < MAX_UNDER_WAY &&
      this.#outstanding.size < MAX_OUTSTANDING
    );
  }

  #giveOut(notice: Notice): void {
    this.#outstanding.set(notice, undefined);
    const settled = this.#settle(notice);
    this.#underWay.add(settled);
    void settled.finally(() => {
      this.#underWay.delete(settled);
      if (this.#hasMore && this.#underWay.size <= MAX_UNDER_WAY / 2) this.wake();
    });
  }

  async #settle(notice: Notice): Promise<void> {
    const { isDone, retryInMs } = await this.#handle(notice);
    // This process has survived it.
    notice.isRepeated = false;
    if (isDone) this.#outstanding.delete(notice);
    else if (!this.#stopping.signal.aborted) {
      this.#outstanding.set(
        notice,
        setTimeout(() => this.#giveOut(notice), retryInMs),
      );
    }
  }

  /** Remembers how far everything is handled, by whichever instance. */
  async #savePosition(): Promise<void> {
    if (this.#cursor === undefined) return;
    const oldest = this.#outstanding.keys().next().value;
    const position = oldest ? oldest.sequence - 1 : this.#cursor;
    if (position <= this.#savedPosition) return;
    await this.#save(position);
  }

  async #save(position: number): Promise<void> {
    const { database, consumer } = this.#options;
    await database.query(SAVE, [consumer, position, this.#types]);
    this.#savedPosition = position;
  }
}
