import { glob } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Logger } from "pino";
import type { Umzug, UmzugStorage } from "umzug";
import { StartupError } from "../lib/startup-error.ts";

const ROOT = join(import.meta.dirname, "..");

/** Held while migrating, so that of several nodes only one does it. The number is "rollcall" in ASCII. */
const ADVISORY_LOCK = "8245937405158780012";

/**
 * So long a migration waits for a table that is in use, as whoever comes after it waits too: less than statements of
 * services may take. Then it lets them pass, and comes again.
 */
const LOCK_TIMEOUT_MS = 1000;
const LOCK_ATTEMPTS = 60;
const LOCK_TIMEOUT_STATE = "55P03";

/** Long, since nobody asks again: a server that is busy, as when all nodes start with it, is no reason to give up. */
const CONNECT_TIMEOUT_MS = 15_000;

/** One step forward of the schema. There are no steps back. */
interface MigrationModule {
  sql: string;
}

/**
 * Brings the database to the newest schema. Each migration runs in a transaction of its own, so that a failed one
 * leaves nothing behind; two callers at the same time wait for each other.
 *
 * @returns the names of the migrations that were applied
 * @throws StartupError that names the migration that failed
 */
export async function migrate(databaseUrl: string, log: Logger): Promise<string[]> {
  return withClient(databaseUrl, async (client) => {
    await client.query("SELECT pg_advisory_lock($1)", [ADVISORY_LOCK]);
    await client.query(
      "CREATE TABLE IF NOT EXISTS public.schema_migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL)",
    );
    try {
      const applied = await (await createUmzug(client, log)).up();
      const names = applied.map(({ name }) => name);
      if (names.length > 0) log.info({ migrations: names }, "database migrated");
      return names;
    } catch (error) {
      log.fatal({ err: error }, "migration failed");
      throw new StartupError(`A migration failed: ${(error as Error).message}`, { cause: error });
    }
  });
}

/** @throws StartupError that names the missing migrations */
export async function requireMigrated(databaseUrl: string): Promise<void> {
  const applied = new Set(await withClient(databaseUrl, appliedMigrations));
  const pending = (await migrationFiles()).map(nameOf).filter((name) => !applied.has(name));
  if (pending.length === 0) return;
  throw new StartupError(
    `The database lacks these migrations: ${pending.join(", ")}. Run 'npm run migrate' first.`,
  );
}

async function withClient<T>(databaseUrl: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect(databaseUrl);
  try {
    return await use(client);
  } finally {
    // Ends the session and with it the advisory lock.
    await client.end();
  }
}

async function connect(databaseUrl: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  // A connection that is lost fails the statement that waits for it; the event, unheard, would end the process.
  client.on("error", () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    throw new StartupError(`The database cannot be reached: ${message || code}. Check DATABASE_URL.`, {
      cause: error,
    });
  }
}

async function createUmzug(client: pg.Client, log: Logger): Promise<Umzug<pg.Client>> {
  // Only loaded to migrate: with what comes with it, it would be 8 MB in the memory of every node.
  const { Umzug } = await import("umzug");
  return new Umzug({
    context: client,
    storage: createStorage(client),
    logger: undefined,
    migrations: (await migrationFiles()).map((file) => {
      const name = nameOf(file);
      return {
        name,
        up: async () => applyWhenFree(client, name, (await import(join(ROOT, file))) as MigrationModule, log),
      };
    }),
  });
}

/** By number first: migrations of different services run in the order in which they were written. */
async function migrationFiles(): Promise<string[]> {
  const files = await Array.fromAsync(glob("services/*/migrations/*.ts", { cwd: ROOT }));
  return files.toSorted((a, b) => basename(a).localeCompare(basename(b)) || a.localeCompare(b));
}

/** `services/users/migrations/0001-users.ts` is `users/0001-users`, whatever the extension. */
function nameOf(file: string): string {
  const [, service] = file.split("/");
  return `${service}/${basename(file, ".ts")}`;
}

async function applyWhenFree(
  client: pg.Client,
  name: string,
  migration: MigrationModule,
  log: Logger,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await apply(client, name, migration);
    } catch (error) {
      const isInUse = error instanceof pg.DatabaseError && error.code === LOCK_TIMEOUT_STATE;
      if (!isInUse || attempt === LOCK_ATTEMPTS) throw error;
      log.info({ migration: name, attempt }, "a migration waits for a table that is in use");
      await sleep(LOCK_TIMEOUT_MS);
    }
  }
}

async function apply(client: pg.Client, name: string, { sql }: MigrationModule): Promise<void> {
  await client.query(`BEGIN; SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
  try {
    await client.query(sql);
    await client.query("INSERT INTO public.schema_migrations (name, applied_at) VALUES ($1, now())", [name]);
    await client.query("COMMIT");
  } catch (error) {
    // It fails too when the connection is lost, which is then the reason.
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

async function appliedMigrations(client: pg.Client): Promise<string[]> {
  const table = await client.query(
    "SELECT FROM pg_class WHERE oid = to_regclass('public.schema_migrations')",
  );
  if (table.rowCount === 0) return [];
  const { rows } = await client.query<{ name: string }>("SELECT name FROM public.schema_migrations");
  return rows.map(({ name }) => name);
}

function createStorage(client: pg.Client): UmzugStorage<pg.Client> {
  return {
    executed: () => appliedMigrations(client),
    // `apply` has written it, in the transaction of the migration.
    logMigration: async () => undefined,
    unlogMigration: async () => {
      throw new Error("Migrations only go forward.");
    },
  };
}
