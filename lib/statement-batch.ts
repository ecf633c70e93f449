import type { Duplex } from "node:stream";
import pg from "pg";

/** Of `pg`, what its types leave out: the connection below a client. */
export interface Wire {
  stream: Duplex;
  sync(): void;
  submittedNamedStatements: Record<string, string>;
}

/** A query as `pg` drives it. */
interface Query {
  name: string | undefined;
  text: string;
  /** With an error or a result. */
  callback: (error: Error | null, result: pg.QueryResult | undefined) => void;
  submit(wire: Wire): Error | null;
  handleRowDescription(message: unknown): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, wire: Wire): void;
  handleReadyForQuery(wire: Wire): void;
  handleError(error: Error, wire: Wire): void;
}

function queryOf(config: pg.QueryConfig, callback: Query["callback"]): Query {
  // Also for statements without a name and values, which would be sent as a simple query, and that ends with a Sync.
  const extended = { ...config, queryMode: "extended" };
  return Object.assign(new pg.Query(extended) as unknown as Query, { callback });
}

/**
 * Statements that PostgreSQL takes as one: they are sent together, and after one that fails it executes none of the
 * others. Outside of a transaction they are a transaction of their own, without BEGIN and COMMIT. They end with one Sync
 * (PostgreSQL, 54.2.4 "Pipelining"), where `pg` has one after each statement and so as many answers.
 *
 * A batch is given to `client.query`, which calls the other methods.
 */
export class StatementBatch {
  /** Told how the whole ended. `pg` replaces it to put a timeout around it. */
  callback: (error: Error | null) => void = () => undefined;
  /** Fulfilled when every statement is executed, and committed unless a transaction is open. */
  readonly done: Promise<void>;
  #queries: Query[] = [];
  /** Of the statement that PostgreSQL answers next. */
  #index = 0;

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.callback = (error) => (error ? reject(error) : resolve());
    });
    this.done.catch(() => undefined);
  }

  get isEmpty(): boolean {
    return this.#queries.length === 0;
  }

  /** Adds a statement; its error is also that of those after it, and of the batch. */
  add<Row extends pg.QueryResultRow>(config: pg.QueryConfig): Promise<pg.QueryResult<Row>> {
    return new Promise((resolve, reject) => {
      const query = queryOf(config, (error, result) =>
        error ? reject(error) : resolve(result as pg.QueryResult<Row>),
      );
      this.#queries.push(query);
    });
  }

  /** Puts a statement before the others. */
  startWith(config: pg.QueryConfig): void {
    this.#queries.unshift(queryOf(config, () => undefined));
  }

  // The name and text under which `pg` remembers what the connection has prepared.
  get name(): string | undefined {
    return this.#queries[this.#index]?.name;
  }

  get text(): string {
    return this.#queries[this.#index]?.text ?? "";
  }

  submit(wire: Wire): void {
    const withoutSync = Object.create(wire, { sync: { value: () => undefined } }) as Wire;
    wire.stream.cork();
    for (const query of this.#queries) query.submit(withoutSync);
    wire.sync();
    wire.stream.uncork();
  }

  handleRowDescription(message: unknown): void {
    this.#queries[this.#index]?.handleRowDescription(message);
  }

  handleDataRow(message: unknown): void {
    this.#queries[this.#index]?.handleDataRow(message);
  }

  handleCommandComplete(message: unknown, wire: Wire): void {
    const query = this.#queries[this.#index++];
    query?.handleCommandComplete(message, wire);
    query?.handleReadyForQuery(wire);
  }

  handleReadyForQuery(): void {
    this.callback(null);
  }

  handleError(error: Error, wire: Wire): void {
    for (const query of this.#queries.slice(this.#index)) {
      // PostgreSQL has not come to prepare it.
      if (query.name !== undefined) delete wire.submittedNamedStatements[query.name];
      query.handleError(error, wire);
    }
    this.callback(error);
  }

  /** For a batch that is never given to a client: all its statements fail. */
  abandon(error: Error): void {
    for (const query of this.#queries) query.callback(error, undefined);
    this.callback(error);
  }
}
