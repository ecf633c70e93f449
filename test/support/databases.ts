import { randomUUID } from "node:crypto";

import pg from "pg";

import { sharedServers } from "./shared-servers.ts";
import { waitFor } from "./wait-for.ts";

/** The database that all migrations were run in, once a run. */
export const TEMPLATE_DATABASE = "rollcall_template";

/** The role that owns every database, as in production. */
const OWNER = "rollcall";

export interface TestDatabase {
  readonly url: string;
  /**
   * Fails when a connection is still open: what opened it was not closed.
   *
   * @param patienceMs how long sessions may take to end whose clients have left
   */
  drop(patienceMs?: number): Promise<void>;
}

/** What PostgreSQL itself makes new databases from. */
export const EMPTY_DATABASE = "template1";

/** A database of its own for a test file, with all tables and no rows, on the PostgreSQL of the run. Takes 50 ms. */
export async function createTestDatabase(template = TEMPLATE_DATABASE): Promise<TestDatabase> {
  const { postgresUrl, postgresAdminUrl } = sharedServers();
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  await createDatabase(postgresAdminUrl, name, template);
  return {
    url: databaseUrl(postgresUrl, name),
    drop: (patienceMs = 30_000) =>
      asAdmin(postgresAdminUrl, (client) => dropDatabase(client, name, patienceMs)),
  };
}

/** Makes a database on any server, as a copy of `template` when given. */
export async function createDatabase(
  adminUrl: string,
  name: string,
  template = EMPTY_DATABASE,
): Promise<void> {
  await asAdmin(adminUrl, (client) =>
    client.query(`CREATE DATABASE "${name}" OWNER ${OWNER} TEMPLATE "${template}"`),
  );
}

/** The same server and user, another database. */
export function databaseUrl(url: string, name: string): string {
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

/** Runs `work` on a connection that is closed afterwards. */
export async function asAdmin<T>(adminUrl: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(adminUrl);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function dropDatabase(client: pg.Client, name: string, patienceMs: number): Promise<void> {
  const leftOpen = await findLeftSessions(client, name, patienceMs);
  await client.query(`DROP DATABASE "${name}" WITH (FORCE)`);
  if (leftOpen.length > 0) {
    throw new Error(
      `Connections to the test database were left open. Their last queries: ${leftOpen.join("; ")}`,
    );
  }
}

/** A session ends a moment after its client has closed the connection. */
async function findLeftSessions(client: pg.Client, name: string, timeoutMs: number): Promise<string[]> {
  const find = async (): Promise<string[]> => {
    const { rows } = await client.query<{ query: string }>(
      `SELECT application_name || ': ' || query AS query FROM pg_stat_activity
        WHERE datname = $1 AND backend_type = 'client backend'`,
      [name],
    );
    return rows.map((row) => row.query);
  };
  try {
    await waitFor(async () => (await find()).length === 0, { description: "sessions to end", timeoutMs });
    return [];
  } catch {
    return find();
  }
}

/** Runs one statement on a connection of its own. */
export async function queryOnce(url: string, sql: string): Promise<unknown[]> {
  const { rows } = await asAdmin(url, (client) => client.query<Record<string, unknown>>(sql));
  return rows;
}
