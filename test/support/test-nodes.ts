import type { ServiceBroker } from "moleculer";
import pg from "pg";
import type { Logger } from "pino";

import { startNode, type RunningNode, type ServiceFactory } from "../../bootstrap/running-node.ts";
import { loadConfig } from "../../lib/config.ts";
import { createTestDatabase, type TestDatabase } from "./databases.ts";
import { startNats, type TestNats } from "./nats.ts";
import { IMAGE_PATIENCE, PATIENCE } from "./patience.ts";
import { silentLogger } from "./silent-logger.ts";
import { temporaryDir } from "./test-run.ts";
import { TEST_AUTH_KEY } from "./test-tokens.ts";
import { waitFor } from "./wait-for.ts";

/** Nodes of the product in this process, on a database and a NATS server of their own. */
export interface TestNodes {
  readonly nats: TestNats;
  readonly databaseUrl: string;
  /**
   * Starts a node and waits until it and the others on NATS see each other's services.
   *
   * @param settings variables over the defaults of a test; an empty one counts as unset
   * @param siblings services that are not Rollcall's own
   */
  start(settings: Settings, log?: Logger, siblings?: readonly ServiceFactory[]): Promise<RunningNode>;
  /** Runs a statement in the database, past the product. */
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** As `sql`. Fails when it gives no row or several. */
  sqlOne<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row>;
  /** Runs statements in a transaction that stays open, and keeps their locks, until it is ended. */
  openTransaction(...statements: Statement[]): Promise<OpenTransaction>;
  /** Waits until this many statements wait for a lock that another transaction holds. */
  untilBlocked(statements: number): Promise<void>;
  /** Stops all nodes. Fails when one of them has left a connection to the database open. */
  stop(): Promise<void>;
}

export type Settings = Readonly<Record<string, string>>;

type Statement = readonly [text: string, values?: unknown[]];

export interface OpenTransaction {
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

const BLOCKED = `SELECT count(*)::integer AS blocked FROM pg_stat_activity
  WHERE datname = current_database() AND wait_event_type = 'Lock'`;

/** @param ownDatabase instead of one on the PostgreSQL of the run; it is dropped in the end */
export async function startTestNodes(ownDatabase?: TestDatabase): Promise<TestNodes> {
  const [database, nats] = await Promise.all([
    ownDatabase ?? createTestDatabase(),
    startNats({ jetStream: true }),
  ]);
  const client = new pg.Client(database.url);
  await client.connect();
  const nodes: RunningNode[] = [];
  const transactions: OpenTransaction[] = [];
  let count = 0;

  const defaults = {
    DATABASE_URL: database.url,
    NATS_URL: nats.url,
    SECRET: "the same on all nodes, as they read each other's cursors",
    AUTH_KEYS: TEST_AUTH_KEY,
    PORT: "0",
    // Shared, as nodes share the folder of images.
    DATA_DIR: temporaryDir("data"),
    ...PATIENCE,
    ...IMAGE_PATIENCE,
    DRAIN_DELAY_MS: "0",
    RATE_LIMIT: "off",
  };
  const sql: TestNodes["sql"] = async (text, values) => (await client.query<never>(text, values)).rows;
  const sqlOne: TestNodes["sqlOne"] = async (text, values) => {
    const [row, ...others] = await sql<never>(text, values);
    if (row === undefined || others.length > 0) throw new Error(`not exactly one row: ${text}`);
    return row;
  };
  return {
    nats,
    databaseUrl: database.url,
    sql,
    sqlOne,
    async start(settings, log = silentLogger, siblings = []) {
      const own = { NODE_ID: `node-${++count}`, LOG_LEVEL: log === silentLogger ? "silent" : "info" };
      const node = await startNode(loadConfig({ ...defaults, ...own, ...settings }), log, { siblings });
      nodes.push(node);
      await untilConnected(nodes.map(({ broker }) => broker));
      return node;
    },
    async openTransaction(...statements) {
      const transaction = await openTransaction(database.url, statements);
      transactions.push(transaction);
      return transaction;
    },
    async untilBlocked(statements) {
      const description = `${statements} statements to wait for a lock`;
      await waitFor(async () => (await sqlOne<{ blocked: number }>(BLOCKED)).blocked === statements, {
        description,
      });
    },
    async stop() {
      // What a test that failed has left open would keep the nodes waiting.
      await Promise.all(transactions.map((transaction) => transaction.rollback()));
      await Promise.all(nodes.map((node) => node.stop()));
      await client.end();
      await Promise.all([database.drop(), nats.stop()]);
    },
  };
}

/** Two nodes of users, and one without services, whose calls all go over NATS to one of the two. */
export async function startUsersPair(
  nodes: TestNodes,
  settings: Settings = {},
): Promise<{ a: ServiceBroker; b: ServiceBroker; caller: ServiceBroker }> {
  const [a, b, caller] = await Promise.all([
    nodes.start({ SERVICES: "users", NODE_ID: "users-a", ...settings }),
    nodes.start({ SERVICES: "users", NODE_ID: "users-b", ...settings }),
    nodes.start({ SERVICES: "none", NODE_ID: "caller", ...settings }),
  ]);
  return { a: a.broker, b: b.broker, caller: caller.broker };
}

/** A node tells the others of its services a moment after it has started. */
async function untilConnected(brokers: readonly ServiceBroker[]): Promise<void> {
  const running = brokers.filter(({ started, transit }) => started && transit);
  const services = running.flatMap((broker) => servicesSeenBy(broker, { onlyLocal: true }));
  const seesAll = (broker: ServiceBroker): boolean => {
    const seen = new Set(servicesSeenBy(broker, { onlyLocal: false }));
    return services.every((service) => seen.has(service));
  };
  await waitFor(() => running.every(seesAll), { description: "the nodes to see each other" });
}

function servicesSeenBy(broker: ServiceBroker, { onlyLocal }: { onlyLocal: boolean }): string[] {
  return broker.registry
    .getServiceList({ onlyLocal, onlyAvailable: true })
    .map(({ name, nodeID }) => `${name} on ${nodeID}`);
}

async function openTransaction(url: string, statements: readonly Statement[]): Promise<OpenTransaction> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query("BEGIN");
  for (const [text, values] of statements) await client.query(text, values);
  let isOpen = true;
  const end = async (how: "COMMIT" | "ROLLBACK"): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await client.query(how);
    await client.end();
  };
  return { commit: () => end("COMMIT"), rollback: () => end("ROLLBACK") };
}
