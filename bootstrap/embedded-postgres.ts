import { join } from "node:path";

import pg from "pg";
import type { Logger } from "pino";

import { StartupError } from "../lib/startup-error.ts";
import {
  openCluster,
  openDataDir,
  readCredentials,
  type Cluster,
  type Credentials,
} from "./postgres/cluster.ts";
import { lockDataDir } from "./postgres/data-lock.ts";
import { startPostmaster, type Postmaster } from "./postgres/postmaster.ts";
import { findPostgresPrograms } from "./postgres/programs.ts";
import { endStaleServer } from "./postgres/stale-server.ts";

export interface EmbeddedPostgresOptions {
  /** Folder of the product's data (DATA_DIR); the database is kept in `postgres` inside it. Made if missing. */
  readonly dataDir: string;
  readonly log: Logger;
  /** Loopback port; a free one by default. */
  readonly port?: number | undefined;
  /** Settings of PostgreSQL over the defaults, such as `{ log_statement: "all" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface EmbeddedPostgres {
  /** The database `rollcall` as its owner, the role `rollcall`. */
  readonly url: string;
  /** The database `postgres` as the superuser, for administration. */
  readonly adminUrl: string;
  readonly port: number;
  readonly pid: number;
  /** Ends the server and gives the data folder free. A second call does nothing. */
  stop(): Promise<void>;
}

const DATABASE = "rollcall";

/**
 * Starts a PostgreSQL server of our own on a data folder, reachable from this machine only and with a password. The
 * first start makes the data. As root it runs with the rights of root's files but not as root; see `chooseRunAs`.
 *
 * @throws {StartupError} when another live process uses the folder, the folder is not writable or holds the data of
 *   another PostgreSQL version, or the server does not start.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log, port, settings = {} } = options;
  const startedAt = performance.now();
  const dataDir = await openDataDir(options.dataDir);
  const lock = lockDataDir(dataDir);
  try {
    const programs = await findPostgresPrograms();
    await endStaleServer(join(dataDir, "postgres"), log);
    const cluster = await openCluster(programs, dataDir, settings.fsync !== "off");
    const credentials = await readCredentials(dataDir);
    const server = await startServer(programs.postgres, cluster, { port, settings, log });
    const urls = await ensureDatabase(server, credentials);
    const durationMs = Math.round(performance.now() - startedAt);
    log.info({ dataDir, port: server.port, isNew: cluster.isNew, durationMs }, "Embedded PostgreSQL started");
    return { ...urls, port: server.port, pid: server.pid, stop: createStop(server, lock, log) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function startServer(
  postgres: string,
  { dir, runAs }: Cluster,
  options: { port: number | undefined; settings: Readonly<Record<string, string>>; log: Logger },
): Promise<Postmaster> {
  try {
    return await startPostmaster({ postgres, prefix: runAs.prefix, cluster: dir, ...options });
  } catch (cause) {
    throw new StartupError(`The embedded PostgreSQL on "${dir}" failed. ${reasonOf(cause)}`, { cause });
  }
}

/** Makes the role and the database unless an earlier start has. Ends the server when it cannot. */
async function ensureDatabase(
  server: Postmaster,
  { superuser, application }: Credentials,
): Promise<{ url: string; adminUrl: string }> {
  const host = `127.0.0.1:${server.port}`;
  const adminUrl = `postgres://postgres:${superuser}@${host}/postgres`;
  const client = new pg.Client(adminUrl);
  try {
    await client.connect();
    const { rowCount: hasRole } = await client.query("SELECT FROM pg_roles WHERE rolname = $1", [DATABASE]);
    if (!hasRole) await client.query(`CREATE ROLE ${DATABASE} LOGIN PASSWORD '${application}'`);
    const { rowCount: hasDatabase } = await client.query("SELECT FROM pg_database WHERE datname = $1", [
      DATABASE,
    ]);
    if (!hasDatabase) await client.query(`CREATE DATABASE ${DATABASE} OWNER ${DATABASE}`);
  } catch (cause) {
    await server.stop();
    throw new StartupError("The embedded PostgreSQL has started, but its database could not be opened.", {
      cause,
    });
  } finally {
    await client.end().catch(() => undefined);
  }
  return { url: `postgres://${DATABASE}:${application}@${host}/${DATABASE}`, adminUrl };
}

function createStop(server: Postmaster, lock: { release(): void }, log: Logger): () => Promise<void> {
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await server.stop();
    lock.release();
    log.info({ port: server.port }, "Embedded PostgreSQL stopped");
  };
  return () => (stopped ??= stop());
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
