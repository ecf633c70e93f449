import { chmod, mkdir, writeFile } from "node:fs/promises";
import { createConnection, createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "@jest/globals";

import { ADMIN, adminClient, logIn } from "../support/admin.ts";
import { createTestDatabase } from "../support/databases.ts";
import { freePort } from "../support/ports.ts";
import { ordinaryUser, dirOf } from "../support/postgres-owners.ts";
import { processesOfRun } from "../support/processes.ts";
import {
  launchRollcall,
  runRollcall,
  startRollcall,
  untilLogged,
  type Rollcall,
  type RollcallOptions,
} from "../support/rollcall-process.ts";
import { sharedServers } from "../support/shared-servers.ts";
import { temporaryDir } from "../support/test-run.ts";

/*
 * The life of a process: what keeps it from starting, which it says in a sentence, and how it ends.
 */

const SECRET = "a secret of the tests with 32 characters";

let nodes: Rollcall[] = [];

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  nodes = [];
});

describe("a node does not start, and says why,", () => {
  test("when the configuration is wrong: every variable is named, and it exits with 78", async () => {
    const { exitCode, output } = await runRollcall({
      env: {
        PORT: "http",
        SERVICES: "users,payments",
        DATABASE_URL: "mysql://127.0.0.1/rollcall",
        NATS_URL: "127.0.0.1:4222",
        LOG_LEVEL: "loud",
        CORS_ORIGINS: "https://app.example.com/",
        SECRET_FILE: "/does/not/exist",
      },
    });

    expect(exitCode).toBe(78);
    for (const name of [
      "PORT",
      "SERVICES",
      "DATABASE_URL",
      "NATS_URL",
      "LOG_LEVEL",
      "CORS_ORIGINS",
      "SECRET",
    ]) {
      expect(output).toMatch(new RegExp(`^ {2}${name}: .`, "m"));
    }
    expect(output).not.toMatch(/^\s+at /m);
  });

  test("when its port is taken, and leaves no PostgreSQL behind", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const dataDir = temporaryDir("data");

    const { exitCode, output } = await runRollcall({ env: { PORT: String(port), DATA_DIR: dataDir } });
    other.close();

    expect(exitCode).toBe(1);
    expect(output).toContain(`PORT ${port} on 127.0.0.1 is already in use.`);
    expect(output).not.toMatch(/^\s+at /m);
    expect(processesOfRun("DATA_DIR", dataDir)).toEqual([]);
  });

  test("when DATA_DIR is not writable", async () => {
    const dataDir = await dirOf(ordinaryUser);
    await chmod(dataDir, 0o500);

    const { exitCode, output } = await runRollcall({
      env: { DATA_DIR: dataDir },
      prefix: ordinaryUser.prefix,
    });

    expect(exitCode).toBe(1);
    expect(output).toContain(`DATA_DIR "${dataDir}" is not a folder that Rollcall can write to`);
    expect(output).not.toMatch(/^\s+at /m);
  });

  test("when a setting of the file .env is wrong, which the environment does not say otherwise", async () => {
    const cwd = temporaryDir("cwd");
    await writeFile(join(cwd, ".env"), "PORT=http\nLOG_LEVEL=loud # as in a test\n");

    const { exitCode, output } = await runRollcall({ cwd, env: { PORT: "0" } });

    expect(exitCode).toBe(78);
    expect(output).toMatch(/^The configuration is wrong:\n {2}LOG_LEVEL: .*\n$/);
  });

  test("when there is a file .env that it cannot read", async () => {
    const cwd = temporaryDir("cwd");
    await mkdir(join(cwd, ".env"));

    const { exitCode, output } = await runRollcall({ cwd });

    expect(exitCode).toBe(78);
    expect(output).toMatch(/^\.env cannot be read: .+\n$/);
  });

  test("when DATA_DIR is a file", async () => {
    const file = join(temporaryDir("data"), "file");
    await writeFile(file, "");

    const { exitCode, output } = await runRollcall({ env: { DATA_DIR: file } });

    expect(exitCode).toBe(1);
    expect(output).toContain(`DATA_DIR "${file}" is not a folder`);
  });

  test("when there can be no temporary files", async () => {
    const folder = join(temporaryDir("tmp"), "missing");

    const { exitCode, output } = await runRollcall({ env: { TMPDIR: folder, LOG_LEVEL: "fatal" } });

    expect(exitCode).toBe(1);
    expect(output).toMatch(
      /^There can be no temporary files in ".*missing" \(ENOENT\)\..* set TMPDIR .*\.\n$/,
    );
  });

  test("when another node uses its DATA_DIR, and that one goes on", async () => {
    const env = { DATA_DIR: temporaryDir("data") };
    const first = await start({ env });

    const { exitCode, output } = await runRollcall({ env });

    expect(exitCode).toBe(1);
    expect(output).toContain(`in use by another Rollcall process (pid ${first.pid})`);
    expect(await statusOf(first, "/health")).toBe(200);
  });

  test("when NATS is away: at the deadline, with exit code 1", async () => {
    const startedAt = performance.now();
    const { exitCode, output } = await runRollcall({
      env: {
        SERVICES: "api",
        NATS_URL: `nats://127.0.0.1:${await freePort()}`,
        SECRET,
        START_DEADLINE_MS: "1500",
      },
    });

    expect(exitCode).toBe(1);
    expect(output).toContain("The node was not ready within 1500 ms: no connection to nats (");
    // Long before the deadline that a node has otherwise.
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  });

  test("when PostgreSQL is away: at the deadline, with exit code 1", async () => {
    const { exitCode, output } = await runRollcall({
      env: {
        DATABASE_URL: `postgres://rollcall@127.0.0.1:${await freePort()}/rollcall`,
        START_DEADLINE_MS: "1500",
      },
    });

    expect(exitCode).toBe(1);
    expect(output).toContain("The node was not ready within 1500 ms: no connection to postgresql (");
  });

  test("when the database lacks migrations, which it names", async () => {
    const { exitCode, output } = await runRollcall({ env: { DATABASE_URL: sharedServers().postgresUrl } });

    expect(exitCode).toBe(1);
    expect(output).toContain(
      "The database lacks these migrations: auth/0001-auth, events/0001-outbox-and-idempotency, users/0001-users",
    );
    expect(output).toContain("npm run migrate");
  });
});

describe("a node ends", () => {
  test("at a signal while it waits for NATS, long before its deadline", async () => {
    const env = { SERVICES: "api", NATS_URL: `nats://127.0.0.1:${await freePort()}`, SECRET };
    const node = launchRollcall({ env });
    nodes.push(node);
    await untilLogged(node, { msg: "API Gateway server created." });

    node.signal("SIGINT");

    expect(await node.ended).toEqual({ exitCode: 0, signal: null });
  });

  test("in time although a client never ends its upload", async () => {
    const node = await start({ env: { STOP_DEADLINE_MS: "8000", DRAIN_DELAY_MS: "100" } });
    const token = await logIn(node.url, ADMIN);
    const { hostname, port } = new URL(node.url);
    const upload = createConnection({ host: hostname, port: Number(port) });
    await once(upload, "connect");
    upload.write(
      `POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
        "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
    );
    const closed = once(upload, "close");

    const signalledAt = performance.now();
    const { exitCode } = await node.stop();
    await closed;

    expect(exitCode).toBe(0);
    expect(performance.now() - signalledAt).toBeLessThan(15_000);
  });

  test("and says so in its log, first and last", async () => {
    const database = await createTestDatabase();
    const node = await start({ env: { DATABASE_URL: database.url } });
    await node.stop();
    await database.drop();

    expect(node.log.find(({ msg }) => msg === "node started")).toMatchObject({
      services: expect.arrayContaining(["users", "api"]),
    });
    expect(node.log.find(({ msg }) => msg === "node stopping")).toMatchObject({ signal: "SIGTERM" });
    expect(node.log.at(-1)).toMatchObject({ msg: "node stopped" });
  });

  test("by kill -9, and the next one finds the data and ends the PostgreSQL that was left running", async () => {
    const env = { DATA_DIR: temporaryDir("data") };
    const killed = await start({ env });
    const client = await adminClient(killed.url);
    const { id } = await client.createUser();
    client.close();
    await killed.kill();
    const left = processesOfRun("DATA_DIR", env.DATA_DIR);

    const next = await start({ env });

    expect(await statusOf(next, `/api/v1/users/${id}`)).toBe(200);
    expect(left.length).toBeGreaterThan(0);
    await untilLogged(next, { msg: "Ending the PostgreSQL that a killed Rollcall left running" });
    await next.stop();
    expect(processesOfRun("DATA_DIR", env.DATA_DIR)).toEqual([]);
  });
});

test("logins work on a node that runs with a low priority, which its user may not raise", async () => {
  const database = await createTestDatabase();
  const node = await start({
    prefix: [...ordinaryUser.prefix, "nice", "-n", "10"],
    env: { DATABASE_URL: database.url, DATA_DIR: await dirOf(ordinaryUser) },
  });

  const token = await logIn(node.url, ADMIN);
  await node.stop();
  await database.drop();

  expect(token).not.toBe("");
});

async function start(options: RollcallOptions): Promise<Rollcall> {
  const node = await startRollcall(options);
  nodes.push(node);
  return node;
}

async function statusOf(node: Rollcall, path: string): Promise<number> {
  const client = await adminClient(node.url);
  try {
    return (await client.get(path)).status;
  } finally {
    client.close();
  }
}
