import type { Database } from "../lib/database.ts";

const SUBSCRIPTION = {
  name: "durable-consumer.subscription",
  text: `
    SELECT head::float8 AS head, ARRAY(SELECT type FROM events.subscription WHERE consumer = $1) AS types
    FROM events.relay`,
};

/**
 * The types of events that a consumer handles. While nodes are replaced, newer instances may know more types than this
 * one, and share its work: what this one does not know must be left to them.
 */
export class Subscription {
  readonly #database: Database;
  readonly #consumer: string;
  #types: readonly string[] = [];
  /** What was read holds for events up to here: a type that is added later begins later. */
  #head = 0;
  #reading: Promise<void> | undefined;

  constructor(database: Database, consumer: string) {
    this.#database = database;
    this.#consumer = consumer;
  }

  /** As they are now. */
  async types(): Promise<readonly string[]> {
    await this.#read();
    return this.#types;
  }

  /** Whether an event is for an instance of the consumer. */
  async includes(type: string, sequence: number): Promise<boolean> {
    // Twice: a look that is under way may have begun before the event was there.
    for (let looks = 0; looks < 2 && sequence > this.#head; looks += 1) {
      await (this.#reading ??= this.#read().finally(() => (this.#reading = undefined)));
    }
    return this.#types.includes(type);
  }

  async #read(): Promise<void> {
    const [row] = await this.#database.query<{ head: number; types: string[] }>(SUBSCRIPTION, [
      this.#consumer,
    ]);
    if (!row) throw new Error("The table events.relay has lost its row.");
    this.#head = row.head;
    this.#types = row.types;
  }
}
