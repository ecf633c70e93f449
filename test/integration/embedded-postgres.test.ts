import { chmod, cp, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";

import { startEmbeddedPostgres, type EmbeddedPostgres } from "../../bootstrap/embedded-postgres.ts";
import { StartupError } from "../../lib/startup-error.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { queryOnce } from "../support/databases.ts";
import {
  dirOf,
  isRoot,
  ordinaryUser,
  startOwner,
  testUsers,
  type PostgresOwner,
} from "../support/postgres-owners.ts";
import { freePort } from "../support/ports.ts";
import { stillRunning } from "../support/processes.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { temporaryDir } from "../support/test-run.ts";
import { waitFor } from "../support/wait-for.ts";

const SETTINGS = { fsync: "off" };

/**
 * A data folder with the table `note` and one row in it. Every test that needs data starts a server on it, as that is
 * faster than a first start, and leaves it stopped and unchanged.
 */
let prepared: string;
let running: (EmbeddedPostgres | PostgresOwner)[] = [];

beforeAll(async () => {
  prepared = join(temporaryDir("prepared"), "data");
  const server = await start(prepared);
  await queryOnce(server.url, "CREATE TABLE note (text text); INSERT INTO note VALUES ('kept')");
  await server.stop();
});

afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  running = [];
});

describe("a start", () => {
  test("keeps the rows of the start before", async () => {
    const { url } = await start(prepared);

    expect(await queryOnce(url, "SELECT text FROM note")).toEqual([{ text: "kept" }]);
  });

  test("works in a folder whose path is longer than a Unix socket's may be", async () => {
    const dataDir = join(temporaryDir("long"), "n".repeat(120), "d'a t%a");

    const { url } = await start(dataDir);

    expect(await queryOnce(url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  });

  test("listens on the given port", async () => {
    const port = await freePort();

    const { url } = await start(prepared, { port });

    expect(new URL(url).port).toBe(String(port));
    expect(await queryOnce(url, "SELECT text FROM note")).toEqual([{ text: "kept" }]);
  });

  test("begins again after a first start that was interrupted", async () => {
    const dataDir = temporaryDir("interrupted");
    await mkdir(join(dataDir, "postgres.new"));
    await writeFile(join(dataDir, "postgres.new", "PG_VERSION"), "18\n");

    const { url } = await start(dataDir);

    expect(await queryOnce(url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  });
});

describe("the database", () => {
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    server = await startEmbeddedPostgres({ dataDir: prepared, log: silentLogger });
  });
  afterAll(() => server.stop());

  test("knows Unicode on every host", async () => {
    const sql = `SELECT lower('ÄÖÇ Ж') AS lower, 'Ä' < 'B' COLLATE "und-x-icu" AS sorted, current_setting('server_encoding') AS encoding`;

    expect(await queryOnce(server.url, sql)).toEqual([{ lower: "äöç ж", sorted: true, encoding: "UTF8" }]);
  });

  test("keeps what was committed through a power failure", async () => {
    const sql = `SELECT bool_and(setting = 'on') AS durable FROM pg_settings
      WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums')`;

    expect(await queryOnce(server.url, sql)).toEqual([{ durable: true }]);
  });

  test("is reached from this machine only, with a password, as a role without privileges", async () => {
    const guessed = Object.assign(new URL(server.url), { password: "guessed" }).href;
    const sql = `SELECT rolsuper, current_setting('listen_addresses') AS listens FROM pg_roles WHERE rolname = current_user`;

    await expect(queryOnce(guessed, "SELECT 1")).rejects.toMatchObject({ code: "28P01" });
    expect(await queryOnce(server.url, sql)).toEqual([{ rolsuper: false, listens: "127.0.0.1" }]);
  });
});

describe("a data folder", () => {
  test("is refused while another live process uses it", async () => {
    const owner = await own(prepared);

    await expect(start(prepared)).rejects.toThrow(
      `DATA_DIR "${prepared}" is in use by another Rollcall process (pid ${owner.pid})`,
    );
  });

  test("is taken over from a process that was killed, whose server is ended", async () => {
    const owner = await own(prepared);
    const orphan = "postgresPid" in owner.report ? owner.report.postgresPid : 0;
    await owner.kill();
    expect(stillRunning([orphan])).toEqual([orphan]);

    const { url } = await start(prepared);

    expect(stillRunning([orphan])).toEqual([]);
    expect(await queryOnce(url, "SELECT text FROM note")).toEqual([{ text: "kept" }]);
  });

  test("opens when the process id of a server that crashed belongs to another process now", async () => {
    await writeFile(join(prepared, "postgres", "postmaster.pid"), `${process.pid}\n`);

    const { url } = await start(prepared);

    expect(await queryOnce(url, "SELECT text FROM note")).toEqual([{ text: "kept" }]);
  });

  test("that is not a folder is refused by name", async () => {
    const file = join(temporaryDir("file"), "file");
    await writeFile(file, "");

    await expect(start(join(file, "data"))).rejects.toThrow(
      `DATA_DIR "${join(file, "data")}" is not a folder`,
    );
    await expect(start(file)).rejects.toBeInstanceOf(StartupError);
  });

  test("without write permission is refused by name", async () => {
    const dataDir = await dirOf(ordinaryUser);
    await chmod(dataDir, 0o500);

    const { report } = await own(dataDir, ordinaryUser);

    expect(report).toEqual({
      startupError: expect.stringContaining(`DATA_DIR "${dataDir}" is not a folder`),
    });
    expect(report).toEqual({ startupError: expect.stringContaining("(EACCES)") });
  });

  test("with data of another PostgreSQL version is refused and left alone", async () => {
    const dataDir = await dirWithVersion("17");

    await expect(start(dataDir)).rejects.toThrow(
      "holds data of PostgreSQL 17, but this release of Rollcall brings",
    );
    expect(await readFile(join(dataDir, "postgres", "PG_VERSION"), "utf8")).toBe("17\n");
  });

  test("without its passwords is refused with the name of their file", async () => {
    const dataDir = await dirWithVersion("18");

    await expect(start(dataDir)).rejects.toThrow(join(dataDir, "postgres.credentials"));
  });

  test("keeps its passwords from other users", async () => {
    const { mode } = await stat(join(prepared, "postgres.credentials"));

    expect(mode & 0o777).toBe(0o600);
  });
});

describe.each(testUsers)("as $name", (user) => {
  test("starts in a folder that nobody else can enter, and again with the data of the first time", async () => {
    const dataDir = join(await dirOf(user), "data");
    const first = await own(dataDir, user);
    expect(first.report).toMatchObject({ uid: user.uid, url: expect.any(String) });
    await first.stop();

    const second = await own(dataDir, user);

    expect(second.report).toMatchObject({ url: expect.any(String) });
    expect((await stat(join(dataDir, "postgres"))).uid).toBe(user.uid);
  });
});

if (isRoot) {
  describe("as root", () => {
    test("runs PostgreSQL as a system user where user namespaces are refused", async () => {
      const dataDir = join(temporaryDir("system-user"), "data");

      const { report } = await own(dataDir, undefined, await withoutPrograms("unshare"));

      expect(report).toMatchObject({ url: expect.any(String) });
      expect((await stat(join(dataDir, "postgres"))).uid).not.toBe(0);
    });

    test("says what to do where PostgreSQL cannot be run at all", async () => {
      const dataDir = join(temporaryDir("refused"), "data");

      const { report } = await own(dataDir, undefined, await withoutPrograms("unshare", "setpriv"));

      expect(report).toEqual({ startupError: expect.stringContaining("Start Rollcall as an ordinary user") });
    });

    test("leaves the data of an ordinary user to that user", async () => {
      const dataDir = join(await dirOf(ordinaryUser), "data");
      await (await own(dataDir, ordinaryUser)).stop();
      await (await own(dataDir)).stop();

      const { report } = await own(dataDir, ordinaryUser);

      expect(report).toMatchObject({ url: expect.any(String) });
    });

    test("makes data that an ordinary user cannot open, and is told so", async () => {
      const dataDir = await dirOf(ordinaryUser);
      await cp(prepared, dataDir, { recursive: true });

      const { report } = await own(dataDir, ordinaryUser);

      expect(report).toEqual({ startupError: expect.stringContaining("belongs to the user with the id 0") });
    });
  });
}

describe("the log", () => {
  test("reports a server that ends unexpectedly, and its recovery at the next start", async () => {
    const { log, entries } = capturingLogger();
    const server = await start(prepared, { log });

    process.kill(server.pid, "SIGKILL");
    // The last words of its children may come later.
    const report = await waitFor(() => entries.find(({ msg }) => msg === "PostgreSQL ended unexpectedly"), {
      description: "the report",
    });
    expect(report).toMatchObject({ level: 50, pid: server.pid, signal: "SIGKILL" });
    await server.stop();

    await start(prepared, { log });
    const recovery = await waitFor(
      () => entries.find(({ msg }) => msg.includes("automatic recovery in progress")),
      { description: "the recovery to be reported" },
    );
    expect(recovery).toMatchObject({ level: 40 });
  });

  test("has the start and the stop, and no statement of a client", async () => {
    // Once before, as a test may have left the data crashed.
    await (await start(prepared)).stop();
    const { log, entries } = capturingLogger();
    const server = await start(prepared, { log });
    await expect(queryOnce(server.url, "SELECT 'secret' FROM missing")).rejects.toMatchObject({
      code: "42P01",
    });
    await server.stop();

    const notable = entries.filter(({ level }) => level >= 30).map(({ msg }) => msg);
    expect(notable).toEqual(["Embedded PostgreSQL started", "Embedded PostgreSQL stopped"]);
    expect(JSON.stringify(entries)).not.toContain("secret");
  });
});

async function start(
  dataDir: string,
  options: Partial<Parameters<typeof startEmbeddedPostgres>[0]> = {},
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDir, log: silentLogger, settings: SETTINGS, ...options });
  running.push(server);
  return server;
}

async function own(dataDir: string, user = testUsers[0] ?? ordinaryUser, env = {}): Promise<PostgresOwner> {
  const owner = await startOwner(dataDir, user, env);
  running.push(owner);
  return owner;
}

/** A data folder that only looks as if it held a database. */
async function dirWithVersion(version: string): Promise<string> {
  const dataDir = temporaryDir("version");
  await mkdir(join(dataDir, "postgres"));
  await writeFile(join(dataDir, "postgres", "PG_VERSION"), `${version}\n`);
  return dataDir;
}

/** An environment in which these programs fail as if the system refused them. */
async function withoutPrograms(...names: string[]): Promise<{ PATH: string }> {
  const dir = temporaryDir("refusing");
  for (const name of names) await writeFile(join(dir, name), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  return { PATH: `${dir}:${process.env.PATH}` };
}
