import { startEmbeddedPostgres, type EmbeddedPostgres } from "../../bootstrap/embedded-postgres.ts";
import { createDatabase, databaseUrl } from "./databases.ts";
import { freePort } from "./ports.ts";
import { freezeTree, processTree, signalAll, stillRunning } from "./processes.ts";
import type { TestServer } from "./server-process.ts";
import { silentLogger } from "./silent-logger.ts";
import { temporaryDir } from "./test-run.ts";
import { waitFor } from "./wait-for.ts";

export interface TestPostgres extends TestServer {
  /** The superuser's, of the database `postgres`. */
  readonly adminUrl: string;
  /** Where its data folder `postgres` is. */
  readonly dataDir: string;
  /** Makes a database, as a copy of `template` when given, and returns its URL. */
  createDatabase(name: string, template?: string): Promise<string>;
}

/**
 * Nothing is flushed to disk, which halves the time of a run. A killed server still loses nothing: what it wrote is
 * in the memory of the kernel. So synchronous_commit has to stay on.
 */
const SETTINGS = { fsync: "off", full_page_writes: "off", max_connections: "200" };

/** A private PostgreSQL server on a free loopback port with an empty database `rollcall`. */
export async function startPostgres(settings: Readonly<Record<string, string>> = {}): Promise<TestPostgres> {
  const dataDir = temporaryDir("postgres");
  const port = await freePort();
  const start = (): Promise<EmbeddedPostgres> =>
    startEmbeddedPostgres({ dataDir, port, log: silentLogger, settings: { ...SETTINGS, ...settings } });
  let server = await start();

  const { url, adminUrl } = server;
  const faults = processFaults(() => server.pid);
  const stop = async (): Promise<void> => {
    faults.thaw();
    await server.stop();
  };
  return {
    url,
    adminUrl,
    port,
    dataDir,
    stop,
    ...faults,
    restart: async () => {
      await stop();
      server = await start();
    },
    createDatabase: async (name, template) => {
      await createDatabase(adminUrl, name, template);
      return databaseUrl(url, name);
    },
  };
}

/** Faults of a server that is a tree of processes; `pid` gives its root, which a restart changes. */
export function processFaults(pid: () => number): Pick<TestServer, "kill" | "freeze" | "thaw"> {
  return {
    kill: async () => {
      const pids = processTree(pid());
      signalAll(pids, "SIGKILL");
      const description = `PostgreSQL ${pid()} to be gone`;
      await waitFor(() => stillRunning(pids).length === 0, { description });
    },
    freeze: () => freezeTree(pid()),
    thaw: () => signalAll(processTree(pid()), "SIGCONT"),
  };
}
