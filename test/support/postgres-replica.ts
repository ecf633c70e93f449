import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type pg from "pg";

import { findPostgresPrograms } from "../../bootstrap/postgres/programs.ts";
import { startPostmaster } from "../../bootstrap/postgres/postmaster.ts";
import { chooseRunAs } from "../../bootstrap/postgres/run-as.ts";
import { asAdmin } from "./databases.ts";
import { freePort } from "./ports.ts";
import { processFaults, type TestPostgres } from "./postgres.ts";
import type { TestServer } from "./server-process.ts";
import { silentLogger } from "./silent-logger.ts";
import { temporaryDir } from "./test-run.ts";
import { waitFor } from "./wait-for.ts";

export interface TestReplica extends Omit<TestServer, "restart"> {
  readonly adminUrl: string;
  /** From now on the replica receives changes but does not show them. */
  pauseReplay(): Promise<void>;
  resumeReplay(): Promise<void>;
  /** Waits until the replica shows everything that the primary has committed by now. */
  catchUp(): Promise<void>;
}

/** A streaming hot standby of `primary`, on a free loopback port, with all its databases. Takes about half a second. */
export async function startReplica(primary: TestPostgres): Promise<TestReplica> {
  const cluster = join(temporaryDir("replica"), "postgres");
  await asAdmin(primary.adminUrl, (client) =>
    copyCluster(client, join(primary.dataDir, "postgres"), cluster),
  );

  const { password } = new URL(primary.adminUrl);
  const connection = `host=127.0.0.1 port=${primary.port} user=postgres password=${password}`;
  const { postgres } = await findPostgresPrograms();
  const { prefix } = await chooseRunAs(postgres, cluster);
  // A standby has to allow as many connections as its primary.
  const settings = { fsync: "off", max_connections: "200", primary_conninfo: connection };
  const server = await startPostmaster({
    postgres,
    prefix,
    cluster,
    port: await freePort(),
    settings,
    log: silentLogger,
  });

  const onPort = (url: string): string => Object.assign(new URL(url), { port: server.port }).href;
  const adminUrl = onPort(primary.adminUrl);
  const faults = processFaults(() => server.pid);
  return {
    url: onPort(primary.url),
    adminUrl,
    port: server.port,
    ...faults,
    stop: () => {
      faults.thaw();
      return server.stop();
    },
    pauseReplay: () =>
      asAdmin(adminUrl, async (client) => {
        await client.query("SELECT pg_wal_replay_pause()");
        await waitFor(() => isTrue(client, "pg_get_wal_replay_pause_state() = 'paused'"), {
          description: "the replica to pause",
        });
      }),
    resumeReplay: () =>
      asAdmin(adminUrl, async (client) => {
        await client.query("SELECT pg_wal_replay_resume()");
      }),
    catchUp: async () => {
      const position = await asAdmin(primary.adminUrl, async (client) => {
        const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn() AS lsn");
        return rows[0]?.lsn;
      });
      await asAdmin(adminUrl, (client) =>
        waitFor(() => isTrue(client, `pg_last_wal_replay_lsn() >= '${position}'`), {
          description: "the replica to catch up",
        }),
      );
    },
  };
}

/**
 * Copies the files of a running server between pg_backup_start and pg_backup_stop, which have to be on one session.
 * The package has no pg_basebackup. The log written meanwhile is not copied: the standby streams it.
 */
async function copyCluster(client: pg.Client, source: string, target: string): Promise<void> {
  await client.query("SELECT pg_backup_start('replica', fast => true)");
  await cp(source, target, { recursive: true, filter: (path) => !LEFT_OUT.test(path) });
  const { rows } = await client.query<{ labelfile: string }>(
    "SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)",
  );
  await mkdir(join(target, "pg_wal"), { recursive: true });
  await rm(join(target, "postgresql.auto.conf"), { force: true });
  await writeFile(join(target, "backup_label"), rows[0]?.labelfile ?? "");
  await writeFile(join(target, "standby.signal"), "");
}

/** What belongs to the running server alone, and the log. */
const LEFT_OUT = /\/(?:postmaster\.(?:pid|opts)|pg_wal\/.+|pg_stat_tmp\/.+|pg_replslot\/.+|pgsql_tmp.*)$/;

async function isTrue(client: pg.Client, condition: string): Promise<boolean> {
  const { rows } = await client.query<{ value: boolean | null }>(`SELECT ${condition} AS value`);
  return rows[0]?.value === true;
}
