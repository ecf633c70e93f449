import pg, { type ClientConfig } from "pg";
import { parse } from "pg-connection-string";
import type { Logger } from "pino";
import { Sequelize } from "sequelize";
import type { Config } from "./config.ts";
import { DatabaseTransaction, limitGoodbye, runStatement, type Statement } from "./database-connection.ts";
import { isDatabaseUnavailable } from "./database-errors.ts";
import { DependencyMonitor } from "./dependency-monitor.ts";

/** What the database needs to know. */
export type DatabaseConfig = Pick<
  Config,
  | "DATABASE_REPLICA_URLS"
  | "DATABASE_POOL_MAX"
  | "DATABASE_ACQUIRE_TIMEOUT_MS"
  | "DATABASE_STATEMENT_TIMEOUT_MS"
  | "NODE_ID"
> & { DATABASE_URL: string };

interface Replica {
  sequelize: Sequelize;
  monitor: DependencyMonitor;
}

/**
 * The PostgreSQL servers of a node: one connection pool to the primary, one to each read replica. All services of
 * the node share it.
 */
export class Database {
  readonly primary: Sequelize;
  /** The primary first, then the replicas. */
  readonly monitors: readonly DependencyMonitor[];
  #replicas: Replica[];
  #next = 0;
  #log: Logger;
  #config: DatabaseConfig;

  constructor(config: DatabaseConfig, log: Logger) {
    this.#log = log;
    this.#config = config;
    this.primary = createPool(config.DATABASE_URL, config);
    this.#replicas = config.DATABASE_REPLICA_URLS.map((url, index) => ({
      sequelize: createPool(url, config),
      monitor: monitorOf(`replica-${index + 1}`, url, log),
    }));
    this.monitors = [
      monitorOf("postgresql", config.DATABASE_URL, log),
      ...this.#replicas.map(({ monitor }) => monitor),
    ];
  }

  /** Runs a statement on the primary. Timestamps are ISO 8601 text in the rows, here and below. */
  query<Row extends pg.QueryResultRow>(statement: Statement, values: unknown[]): Promise<Row[]> {
    return runStatement(this.primary, statement, values);
  }

  /**
   * Runs a read on a replica that works, in turn; on the primary when there is none, when the chosen one fails, or
   * when the caller wants fresh data.
   */
  async read<Row extends pg.QueryResultRow>(
    options: { fresh: boolean },
    statement: Statement,
    values: unknown[],
  ): Promise<Row[]> {
    const replica = options.fresh ? undefined : this.#nextReplica();
    if (!replica) return this.query(statement, values);
    try {
      return await runStatement(replica.sequelize, statement, values);
    } catch (error) {
      if (!isDatabaseUnavailable(error)) throw error;
      replica.monitor.report(false, error);
      this.#log.debug({ replica: replica.monitor.name }, "read falls back to the primary");
      return this.query(statement, values);
    }
  }

  /** Runs `work` in a transaction on the primary. */
  transaction<T>(work: (transaction: DatabaseTransaction) => Promise<T>): Promise<T> {
    return DatabaseTransaction.run(this.primary, work);
  }

  /**
   * Opens a connection to the primary outside the pool, for what belongs to a session: advisory locks, LISTEN. A
   * statement need not wait for the one before. Whoever opens it listens to its event `error`, and ends it.
   */
  async openSession(): Promise<pg.Client> {
    const { DATABASE_URL: connectionString } = this.#config;
    const client = new pg.Client({ connectionString, ...connectionOptions(this.#config) });
    try {
      await client.connect();
      return Object.assign(client, { pipeline: true });
    } catch (error) {
      client.connection.stream.destroy();
      throw error;
    }
  }

  #nextReplica(): Replica | undefined {
    const working = this.#replicas.filter(({ monitor }) => monitor.isUp);
    return working[this.#next++ % working.length];
  }

  /** Starts watching the servers and waits for the primary, for as long as it takes. */
  async start(): Promise<void> {
    await Promise.all(this.monitors.map((monitor) => monitor.start()));
    await this.monitors[0]?.untilUp();
  }

  /** The connections of each pool, by server. */
  poolUsage(): PoolUsage[] {
    const replicas = this.#replicas.map(({ sequelize, monitor }) => usageOf(monitor.name, sequelize));
    return [usageOf("primary", this.primary), ...replicas];
  }

  /** Closes all connections; call it after the last service has stopped. */
  async close(): Promise<void> {
    for (const monitor of this.monitors) monitor.stop();
    await Promise.all(
      [this.primary, ...this.#replicas.map(({ sequelize }) => sequelize)].map((s) => s.close()),
    );
  }
}

/** How many connections a pool has. */
export interface PoolUsage {
  server: string;
  inUse: number;
  idle: number;
  /** Requests that wait for a connection. */
  waiting: number;
}

function usageOf(server: string, sequelize: Sequelize): PoolUsage {
  // Not in Sequelize's types.
  const { pool } = sequelize.connectionManager as unknown as {
    pool: { using: number; available: number; waiting: number };
  };
  return { server, inUse: pool.using, idle: pool.available, waiting: pool.waiting };
}

function createPool(url: string, config: DatabaseConfig): Sequelize {
  // Sequelize takes no `sslmode` from the URL.
  const { ssl } = parse(url);
  return new Sequelize(url, {
    dialect: "postgres",
    logging: false,
    pool: {
      max: config.DATABASE_POOL_MAX,
      min: 0,
      acquire: config.DATABASE_ACQUIRE_TIMEOUT_MS,
      idle: 30_000,
    },
    // A failed connect is retried by the request, not by the pool, which would hold everyone waiting for it.
    retry: { max: 0 },
    hooks: { beforeDisconnect: limitGoodbye },
    dialectOptions: { ...connectionOptions(config), ...(ssl !== undefined && { ssl }) },
  });
}

function connectionOptions({
  NODE_ID,
  DATABASE_ACQUIRE_TIMEOUT_MS,
  DATABASE_STATEMENT_TIMEOUT_MS: statementMs,
}: DatabaseConfig): ClientConfig {
  return {
    application_name: `rollcall ${NODE_ID}`,
    keepAlive: true,
    connectionTimeoutMillis: DATABASE_ACQUIRE_TIMEOUT_MS,
    statement_timeout: statementMs,
    // A frozen server does not keep its own timeout.
    query_timeout: statementMs + 250,
    idle_in_transaction_session_timeout: statementMs,
  };
}

/** Checks through a connection of its own: a pool that is merely busy must not look like a dead server. */
function monitorOf(name: string, url: string, log: Logger): DependencyMonitor {
  let connection: Promise<pg.Client> | undefined;
  const discard = () => {
    connection?.then((client) => client.end()).catch(() => undefined);
    connection = undefined;
  };
  return new DependencyMonitor({
    name,
    log,
    release: discard,
    check: async () => {
      try {
        connection ??= connect(url, discard);
        const client = await connection;
        await client.query("SELECT 1");
      } catch (error) {
        discard();
        throw error;
      }
    },
  });
}

async function connect(url: string, onError: () => void): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1000, query_timeout: 1000 });
  client.on("error", onError);
  await client.connect();
  return client;
}
