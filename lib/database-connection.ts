import pg from "pg";
import { Transaction as SequelizeTransaction, type Sequelize } from "sequelize";
import { StatementBatch, type Wire } from "./statement-batch.ts";

/**
 * A statement with `$1` parameters. With a name, unique in the code base, PostgreSQL parses it once for each connection
 * and may plan it once too; leave it out where the best plan depends on the values.
 */
export interface Statement {
  readonly name?: string;
  readonly text: string;
}

/** A connection of Sequelize's pool, which is a client of `pg`. */
type Connection = pg.Client & { connection: Wire; uuid?: string };

/** Of Sequelize, what its types leave out. */
interface ConnectionManager {
  getConnection(options: { type: "read" | "write" }): Promise<Connection>;
  releaseConnection(connection: Connection): void;
  destroyConnection(connection: Connection): Promise<void>;
}

/**
 * Timestamps come as the text that the API shows: a page has a hundred of them, and a Date of each would be made only to
 * be written out again.
 */
const types: pg.CustomTypesConfig = {
  getTypeParser: (type, format) =>
    type === pg.types.builtins.TIMESTAMPTZ
      ? toIsoText
      : (pg.types.getTypeParser(type, format) as (text: string) => unknown),
};

/**
 * `2030-01-31 12:00:00.5+00`, as PostgreSQL writes a timestamp, in ISO 8601, UTC and with milliseconds.
 *
 * @throws RangeError for what no Date can be, such as `infinity`
 */
export function toIsoText(text: string): string {
  const isUtcWithMilliseconds = text.endsWith("+00") && text.length <= 26 && text[10] === " ";
  if (!isUtcWithMilliseconds) return new Date(text).toISOString();
  return `${text.slice(0, 10)}T${text.slice(11, 19)}.${text.slice(20, -3).padEnd(3, "0")}Z`;
}

const managerOf = (sequelize: Sequelize) => sequelize.connectionManager as unknown as ConnectionManager;

/**
 * Runs one statement on a connection of the pool. Sequelize's own way costs more than most statements do. Timestamps
 * are ISO 8601 text in the rows.
 *
 * @throws the errors of `pg` and of Sequelize's pool
 */
export async function runStatement<Row extends pg.QueryResultRow>(
  sequelize: Sequelize,
  statement: Statement,
  values: unknown[],
): Promise<Row[]> {
  const manager = managerOf(sequelize);
  const connection = await manager.getConnection({ type: "read" });
  try {
    const { rows } = await connection.query<Row>({ ...statement, values, types });
    manager.releaseConnection(connection);
    return rows;
  } catch (error) {
    // After an error of the server the connection is as good as before; after any other its state is unknown.
    if (error instanceof pg.DatabaseError) manager.releaseConnection(connection);
    else destroy(manager, connection);
    throw error;
  }
}

const BEGIN = { name: "transaction.begin", text: "BEGIN" };
const COMMIT = { name: "transaction.commit", text: "COMMIT" };

/**
 * A transaction whose statements leave together, in one round trip, at the end of the turn of the event loop that they
 * are sent in. PostgreSQL executes nothing after a statement that failed, so nothing is executed on a wrong assumption.
 */
export class DatabaseTransaction {
  #sequelize: Sequelize;
  #connection: Connection;
  #enlisted: Promise<unknown>[] = [];
  #afterCommit: (() => void)[] = [];
  /** The statements that have not left yet. */
  #batch = new StatementBatch();
  /** The end of those that have left. */
  #sent: Promise<void> = Promise.resolve();
  /** A transaction of a single batch needs no BEGIN. */
  #hasBegun = false;
  #isOver = false;

  private constructor(sequelize: Sequelize, connection: Connection) {
    this.#sequelize = sequelize;
    this.#connection = connection;
  }

  /** Runs `work` in a transaction; its error, or that of a statement it did not wait for, rolls everything back. */
  static async run<T>(
    sequelize: Sequelize,
    work: (transaction: DatabaseTransaction) => Promise<T>,
  ): Promise<T> {
    const manager = managerOf(sequelize);
    const connection = await manager.getConnection({ type: "write" });
    const transaction = new DatabaseTransaction(sequelize, connection);
    let result: T;
    try {
      result = await work(transaction);
      await transaction.#commit();
      manager.releaseConnection(connection);
    } catch (error) {
      await transaction.#rollback(manager, error as Error);
      throw error;
    }
    for (const listener of transaction.#afterCommit) listener();
    return result;
  }

  /** Runs a statement. Timestamps are ISO 8601 text in the rows. */
  async query<Row extends pg.QueryResultRow>(statement: Statement, values: unknown[]): Promise<Row[]> {
    this.#requireOpen();
    const batch = this.#batch;
    if (batch.isEmpty) {
      process.nextTick(() => {
        // Unless the commit has taken it along.
        if (batch === this.#batch) this.#sendWithBegin();
      });
    }
    const { rows } = await batch.add<Row>({ ...statement, values, types });
    return rows;
  }

  /** Leaves it to the transaction to wait for something, and to fail with its error, the first enlisted first. */
  enlist(sent: Promise<unknown>): void {
    // Its error is thrown by the commit, or is less telling than the one that comes before.
    sent.catch(() => undefined);
    this.#enlisted.push(sent);
  }

  /**
   * Calls `listener` when everything is committed, and not at all otherwise. A process that ends in between never calls
   * it: good for what also happens without it, later.
   */
  afterCommit(listener: () => void): void {
    this.#afterCommit.push(listener);
  }

  /** For models: `Model.update(…, { transaction: transaction.forModels })`. */
  get forModels(): SequelizeTransaction {
    this.#requireOpen();
    this.#sendWithBegin();
    const transaction = new SequelizeTransaction(this.#sequelize, {});
    return Object.assign(transaction, { connection: this.#connection });
  }

  /** The connection may be in another transaction already. */
  #requireOpen(): void {
    if (this.#isOver) throw new Error("The transaction is over.");
  }

  #sendWithBegin(): void {
    if (!this.#hasBegun) this.#batch.startWith(BEGIN);
    this.#hasBegun = true;
    this.#send();
  }

  #send(): void {
    const batch = this.#batch;
    if (batch.isEmpty) return;
    this.#batch = new StatementBatch();
    this.#sent = this.#sent.then(
      () => {
        void this.#connection.query(batch);
        return batch.done;
      },
      (error: Error) => {
        batch.abandon(error);
        throw error;
      },
    );
    this.#sent.catch(() => undefined);
  }

  async #commit(): Promise<void> {
    this.#isOver = true;
    if (this.#hasBegun) this.enlist(this.#batch.add(COMMIT).then(refuseRollback));
    this.#send();
    for (const enlisted of this.#enlisted) await enlisted;
    await this.#sent;
  }

  async #rollback(manager: ConnectionManager, reason: Error): Promise<void> {
    this.#isOver = true;
    // Else they would leave after the ROLLBACK, and be committed or open a transaction that nobody ends.
    const unsent = this.#batch;
    this.#batch = new StatementBatch();
    unsent.abandon(reason);
    try {
      await this.#sent.catch(throwUnlessAnswered);
      if (this.#hasBegun) await this.#connection.query("ROLLBACK");
      manager.releaseConnection(this.#connection);
    } catch {
      destroy(manager, this.#connection);
    }
  }
}

/** PostgreSQL answers a COMMIT with ROLLBACK when a statement failed whose error somebody has caught. */
function refuseRollback({ command }: pg.QueryResult): void {
  if (command !== "COMMIT") throw new Error("The transaction was rolled back: one of its statements failed.");
}

/** After an error of the server the connection is as good as before; after any other its state is unknown. */
function throwUnlessAnswered(error: unknown): void {
  if (!(error instanceof pg.DatabaseError)) throw error;
}

const GOODBYE_MS = 1000;

/** For a connection of the pool that is about to be ended politely: a frozen server would never come round to it. */
export function limitGoodbye(connection: unknown): void {
  const { stream } = (connection as Connection).connection;
  if (stream.destroyed) return;
  const timer = setTimeout(() => stream.destroy(), GOODBYE_MS);
  stream.once("close", () => clearTimeout(timer));
}

/** The pool makes another connection when it needs one. */
function destroy(manager: ConnectionManager, connection: Connection): void {
  // Without this it would be ended politely, for which a frozen server never comes round.
  connection.connection.stream.destroy();
  manager.destroyConnection(connection).catch(() => undefined);
}
