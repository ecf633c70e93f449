import { once } from "node:events";
import { createConnection } from "node:net";

import { afterAll, describe, expect, test } from "@jest/globals";
import pg from "pg";

import { createTestDatabase, queryOnce } from "../support/databases.ts";
import { startNats } from "../support/nats.ts";
import { startPostgres } from "../support/postgres.ts";
import { startRedis } from "../support/redis.ts";
import type { TestServer } from "../support/server-process.ts";

const SERVERS = [
  { name: "NATS", start: () => startNats({ jetStream: true }), greeting: "PING\r\n" },
  { name: "Redis", start: startRedis, greeting: "PING\r\n" },
];

/** So long a server that is frozen is listened to. */
const SILENCE_MS = 200;

describe.each(SERVERS)("a private $name server", ({ start, greeting }) => {
  const servers: TestServer[] = [];
  afterAll(() => Promise.all(servers.map((server) => server.stop())));

  test("does not answer while frozen, refuses once killed, and comes back on the same port", async () => {
    const server = await start();
    servers.push(server);

    server.freeze();
    await expect(answer(server.port, greeting, SILENCE_MS)).resolves.toBe("silence");
    server.thaw();
    await expect(answer(server.port, greeting)).resolves.toBe("an answer");
    await server.kill();
    await expect(answer(server.port, greeting)).resolves.toBe("ECONNREFUSED");
    await server.restart();
    await expect(answer(server.port, greeting)).resolves.toBe("an answer");
  });
});

describe("a private PostgreSQL server", () => {
  test("keeps what was committed when it is killed", async () => {
    const server = await startPostgres();
    await queryOnce(server.url, "CREATE TABLE note AS SELECT 'kept' AS text");

    await server.kill();
    await expect(queryOnce(server.url, "SELECT 1")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await server.restart();

    expect(await queryOnce(server.url, "SELECT text FROM note")).toEqual([{ text: "kept" }]);
    await server.stop();
  });

  test("makes a database as a copy of another", async () => {
    const server = await startPostgres();
    const template = await server.createDatabase("template");
    await queryOnce(template, "CREATE TABLE note AS SELECT 'copied' AS text");

    const copy = await server.createDatabase("copy", "template");

    expect(await queryOnce(copy, "SELECT text FROM note")).toEqual([{ text: "copied" }]);
    await server.stop();
  });
});

describe("a test database", () => {
  test("has the tables of all migrations", async () => {
    const database = await createTestDatabase();

    expect(await queryOnce(database.url, "SELECT name FROM schema_migrations")).not.toEqual([]);
    await database.drop();
  });

  test("is dropped with an error that shows who left a connection open", async () => {
    const database = await createTestDatabase();
    const client = new pg.Client(database.url);
    const ended = new Promise((resolve) => client.once("end", resolve));
    client.on("error", () => undefined);
    await client.connect();
    await client.query("SELECT 'left open'");

    await expect(database.drop(100)).rejects.toThrow("SELECT 'left open'");
    await ended;
  });
});

async function answer(port: number, greeting: string, patienceMs = 30_000): Promise<string> {
  const socket = createConnection({ port, host: "127.0.0.1" });
  try {
    const signal = AbortSignal.timeout(patienceMs);
    await once(socket, "connect", { signal });
    socket.write(greeting);
    await once(socket, "data", { signal });
    return "an answer";
  } catch (error) {
    const { name, code } = error as NodeJS.ErrnoException;
    return name === "AbortError" ? "silence" : (code ?? name);
  } finally {
    socket.destroy();
  }
}
