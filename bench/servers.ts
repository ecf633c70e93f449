import pg from "pg";

import { migrate } from "../bootstrap/migrate.ts";
import { startNats } from "../test/support/nats.ts";
import { startPostgres } from "../test/support/postgres.ts";
import { describeProcess, processTree } from "../test/support/processes.ts";
import { startRedis } from "../test/support/redis.ts";
import { silentLogger } from "../test/support/silent-logger.ts";
import { closeTestRun } from "../test/support/test-run.ts";

/** The private servers that both sides share, and a connection for the harness itself. */
export interface Servers {
  databaseUrl: string;
  natsUrl: string;
  natsPid: number;
  redisUrl: string;
  /** As the superuser, who may ask for a checkpoint. */
  database: pg.Client;
  stop(): Promise<void>;
}

/** The tests run without durability; figures are only worth something with it. Everything else is PostgreSQL's default. */
const DURABLE = { fsync: "on", full_page_writes: "on" };

/**
 * Starts PostgreSQL, NATS and Redis on free ports and applies the migrations.
 *
 * @param settings of PostgreSQL, beside its defaults
 */
export async function startServers(settings: Readonly<Record<string, string>> = {}): Promise<Servers> {
  const [postgres, nats, redis] = await Promise.all([
    startPostgres({ ...DURABLE, ...settings }),
    startNats({ jetStream: true }),
    startRedis(),
  ]);
  await migrate(postgres.url, silentLogger);
  const database = new pg.Client(Object.assign(new URL(postgres.adminUrl), { pathname: "/rollcall" }).href);
  await database.connect();
  return {
    databaseUrl: postgres.url,
    natsUrl: nats.url,
    natsPid: childNamed("nats-server"),
    redisUrl: redis.url,
    database,
    stop: async () => {
      await database.end();
      await Promise.all([postgres.stop(), nats.stop(), redis.stop()]);
      await closeTestRun();
    },
  };
}

/** The process id of a program that this process has started. */
function childNamed(program: string): number {
  const pid = processTree(process.pid).find((candidate) => describeProcess(candidate).includes(program));
  if (pid === undefined) throw new Error(`${program} does not run`);
  return pid;
}
