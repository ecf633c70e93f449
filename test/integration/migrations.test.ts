import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";

import { migrate, requireMigrated } from "../../bootstrap/migrate.ts";
import { startNode } from "../../bootstrap/running-node.ts";
import { loadConfig } from "../../lib/config.ts";
import { StartupError } from "../../lib/startup-error.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import {
  asAdmin,
  createTestDatabase,
  databaseUrl,
  EMPTY_DATABASE,
  type TestDatabase,
} from "../support/databases.ts";
import { freePort } from "../support/ports.ts";
import { runRollcall } from "../support/rollcall-process.ts";
import { sharedServers } from "../support/shared-servers.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { waitFor } from "../support/wait-for.ts";

/** Two that are always there, in the order in which they are applied. */
const BEFORE = "events/0001-outbox-and-idempotency";
const AFTER = "users/0001-users";
/** One that changes a table which is in use. */
const ON_SESSIONS = "auth/0005-sessions-by-version";
const PUBLISHED_MARKS = "events/0006-published-marks";

let database: TestDatabase;

beforeEach(async () => {
  database = await createTestDatabase(EMPTY_DATABASE);
});

afterEach(() => database.drop());

describe("migrating", () => {
  test("an empty database applies every migration, in order, and says so", async () => {
    const { log, entries } = capturingLogger();

    const names = await migrate(database.url, log);

    expect(names.filter((name) => [BEFORE, AFTER].includes(name))).toEqual([BEFORE, AFTER]);
    expect(await applied()).toEqual(names);
    expect(entries).toMatchObject([{ msg: "database migrated", migrations: names }]);
    await expect(requireMigrated(database.url)).resolves.toBeUndefined();
  });

  test("a second time does nothing and keeps the rows", async () => {
    await migrate(database.url, silentLogger);
    await sql(INSERT_USER);

    expect(await migrate(database.url, silentLogger)).toEqual([]);

    expect(await sql("SELECT email FROM users.users")).toEqual([{ email: "ada@example.com" }]);
  });

  test("from several nodes at once applies each migration once", async () => {
    const results = await Promise.all(Array.from({ length: 4 }, () => migrate(database.url, silentLogger)));

    const [names, ...others] = results.toSorted((one, two) => two.length - one.length);
    expect(others).toEqual([[], [], []]);
    expect(await applied()).toEqual(names);
  });

  test("a database with rows of an older state keeps them", async () => {
    await migrateUpTo("users");
    await sql(`INSERT INTO events.outbox (id, type, subject, data, actor, request_id, changed_fields, occurred_at)
      VALUES (gen_random_uuid(), 'user-created_v1', gen_random_uuid(), '{}', 'ada', 'request', '{}', now())`);

    expect(await migrate(database.url, silentLogger)).toContain(AFTER);

    expect(await sql("SELECT position, actor FROM events.outbox")).toEqual([{ position: "1", actor: "ada" }]);
    await sql(INSERT_USER);
  });

  test("events that were there before it was noted when they were published get the times of their changes", async () => {
    await migrate(database.url, silentLogger);
    await sql(`DROP TABLE events.published_mark;
      DELETE FROM public.schema_migrations WHERE name = '${PUBLISHED_MARKS}';
      INSERT INTO events.log (sequence, id, type, subject, data, actor, request_id, changed_fields, occurred_at)
      SELECT sequence, gen_random_uuid(), 'user-created_v1', gen_random_uuid(), '{}', 'ada', 'request', '{}',
        timestamptz '2026-01-01' + sequence * interval '1 minute' FROM generate_series(3, 4000) AS sequence`);

    expect(await migrate(database.url, silentLogger)).toEqual([PUBLISHED_MARKS]);

    expect(
      await sql(`
        SELECT (array_agg(sequence::integer ORDER BY sequence))[1:3] AS first, max(sequence)::integer AS last,
          bool_and(reached_at = occurred_at) AS "areOfEvents"
        FROM events.published_mark JOIN events.log USING (sequence)`),
    ).toEqual([{ first: [3, 6, 9], last: 3999, areOfEvents: true }]);
  });

  test("a table that is in use waits for that, and lets others use it meanwhile", async () => {
    await migrate(database.url, silentLogger);
    await sql(`ALTER TABLE auth.sessions DROP COLUMN user_version;
      DELETE FROM public.schema_migrations WHERE name = '${ON_SESSIONS}'`);
    const { log, entries } = capturingLogger();
    const release = await holding("SELECT FROM auth.sessions");

    const migrating = migrate(database.url, log);
    await waitFor(() => entries.some(({ msg }) => msg === "a migration waits for a table that is in use"), {
      description: "the migration to wait",
    });
    // Each as soon as the migration has stood back; it waits for a second at most.
    for (let count = 0; count < 3; count += 1) await sql("SELECT FROM auth.sessions");
    await release();

    expect(await migrating).toEqual([ON_SESSIONS]);
  });
});

describe("a migration that fails", () => {
  test("half way through leaves nothing of itself and keeps those before it", async () => {
    const { log, entries } = capturingLogger();
    await refuseInSchema("users", "CREATE INDEX");

    await expect(migrate(database.url, log)).rejects.toThrow(StartupError);

    expect(await applied()).toContain(BEFORE);
    expect(await applied()).not.toContain(AFTER);
    expect(await sql("SELECT nspname FROM pg_namespace WHERE nspname = 'users'")).toEqual([]);
    const failure = entries.find(({ msg }) => msg === "migration failed");
    expect(failure).toMatchObject({
      level: 60,
      err: { message: expect.stringMatching(/users\/0001-users/) },
    });
    expect(JSON.stringify(failure)).toContain("refused by the test");
  });

  test("is applied once what stopped it is gone", async () => {
    await migrateUpTo("users");

    const names = await migrate(database.url, silentLogger);

    expect(names[0]).toBe(AFTER);
    expect(await applied()).toEqual(expect.arrayContaining([BEFORE, ...names]));
  });

  test("as its session is ended is an error that is logged, not the end of the process", async () => {
    const { log, entries } = capturingLogger();
    await migrateUpTo("users");
    const unblock = await blockMigrations();

    const [migration] = await Promise.allSettled([migrate(database.url, log), endBlockedSession()]);
    await unblock();

    expect(migration).toMatchObject({ status: "rejected", reason: expect.any(StartupError) });
    // It has waited once more when the session was ended late.
    expect(entries.filter(({ level }) => level > 30)).toMatchObject([{ level: 60, msg: "migration failed" }]);
  });
});

describe("a node", () => {
  test("does not start on a database that lacks migrations, and names them and the command", async () => {
    await migrateUpTo("users");
    const config = loadConfig({ SERVICES: "users", DATABASE_URL: database.url, LOG_LEVEL: "silent" });

    const starting = startNode(config, silentLogger);

    await expect(starting).rejects.toThrow(StartupError);
    await expect(starting).rejects.toThrow(
      /^The database lacks these migrations: users\/0001-users.*\. Run 'npm run migrate' first\.$/,
    );
    expect(await applied()).not.toContain(AFTER);
  });
});

describe("the migrate command", () => {
  test("run by npm migrates the database, and the second time says that it is up to date", async () => {
    const run = (): Promise<{ stdout: string }> =>
      promisify(execFile)("npm", ["run", "--silent", "migrate"], {
        cwd: join(import.meta.dirname, "../.."),
        env: { ...process.env, DATABASE_URL: database.url, LOG_FORMAT: "json" },
      });

    expect((await run()).stdout).toMatch(/"msg":"database migrated"/);
    expect(await applied()).toContain(AFTER);
    expect((await run()).stdout).toMatch(/"msg":"the database is up to date"/);
  });

  test("ends with 1 when a migration fails, and logs it", async () => {
    await refuseInSchema("users", "CREATE TABLE");

    const { exitCode, output } = await runRollcall({
      program: "migrate-command.ts",
      env: { DATABASE_URL: database.url },
    });

    expect(exitCode).toBe(1);
    expect(output).toMatch(/"msg":"migration failed"/);
    expect(output).toMatch(/^A migration failed: .*users\/0001-users.*refused by the test/m);
  });

  test("says what is wrong, without a stack, when the database cannot be reached", async () => {
    const url = `postgres://ada:secret-word@127.0.0.1:${await freePort()}/rollcall`;

    const { exitCode, output } = await runRollcall({
      program: "migrate-command.ts",
      env: { DATABASE_URL: url },
    });

    expect(exitCode).toBe(1);
    expect(output).toMatch(/^The database cannot be reached: .*ECONNREFUSED/);
    expect(output).not.toMatch(/secret-word|\n\s+at /);
  });

  test("says so when there is no database to migrate", async () => {
    const { exitCode, output } = await runRollcall({ program: "migrate-command.ts" });

    expect({ exitCode, output }).toEqual({
      exitCode: 1,
      output: "DATABASE_URL is not set: there is nothing to migrate.\n",
    });
  });
});

const INSERT_USER = `INSERT INTO users.users (id, email, first_name, last_name, created_at, updated_at)
  VALUES (gen_random_uuid(), 'ada@example.com', 'Ada', 'Lovelace', now(), now())`;

function sql(text: string): Promise<object[]> {
  return asAdmin(database.url, async (client) => (await client.query<object>(text)).rows);
}

async function applied(): Promise<string[]> {
  const rows = await sql("SELECT name FROM public.schema_migrations ORDER BY applied_at, name");
  return (rows as { name: string }[]).map(({ name }) => name);
}

/** Runs a statement as the superuser. */
function sqlOfAdmin(text: string): Promise<unknown> {
  const url = databaseUrl(sharedServers().postgresAdminUrl, new URL(database.url).pathname.slice(1));
  return asAdmin(url, (client) => client.query(text));
}

/** Makes PostgreSQL refuse statements of a kind that name something in a schema. */
async function refuseInSchema(schema: string, tag: string): Promise<void> {
  await sqlOfAdmin(`
    CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE schema_name = '${schema}') THEN
          RAISE EXCEPTION 'refused by the test';
        END IF;
      END $$;
    CREATE EVENT TRIGGER refuse ON ddl_command_end WHEN TAG IN ('${tag}') EXECUTE FUNCTION public.refuse();`);
}

/** Applies the migrations that come before those of a schema. */
async function migrateUpTo(schema: string): Promise<void> {
  await refuseInSchema(schema, "CREATE TABLE");
  await expect(migrate(database.url, silentLogger)).rejects.toThrow(StartupError);
  await sqlOfAdmin("DROP EVENT TRIGGER refuse");
}

/** Makes every migration wait until the function that it returns is called. */
function blockMigrations(): Promise<() => Promise<void>> {
  return holding("LOCK TABLE public.schema_migrations IN EXCLUSIVE MODE");
}

/** Keeps the locks of a statement until the function that it returns is called. */
async function holding(statement: string): Promise<() => Promise<void>> {
  const released = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const ended = asAdmin(database.url, async (client) => {
    await client.query(`BEGIN; ${statement}`);
    held.resolve();
    await released.promise;
  });
  await held.promise;
  return async () => {
    released.resolve();
    await ended;
  };
}

/** Waits until a session waits for a lock, and ends it. */
async function endBlockedSession(): Promise<void> {
  const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'`;
  await waitFor(async () => (await sql(end)).length > 0, { description: "a session that waits for a lock" });
}
