import { setImmediate as nextTurn } from "node:timers/promises";

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type pg from "pg";

import { loadConfig } from "../../lib/config.ts";
import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import { Database } from "../../lib/database.ts";
import { createTestDatabase, type TestDatabase } from "../support/databases.ts";
import { silentLogger } from "../support/silent-logger.ts";

const INSERT = { name: "test.insert", text: "INSERT INTO numbers VALUES ($1)" };
const SUM = { name: "test.sum", text: "SELECT coalesce(sum(number), 0)::integer AS sum FROM numbers" };
const UNNAMED = { text: "INSERT INTO numbers VALUES (40)" };
const UNIQUE_VIOLATION = { code: "23505" };

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  // One connection, so that a transaction finds what the one before has left on it.
  const config = loadConfig({
    SERVICES: "events",
    DATABASE_URL: testDatabase.url,
    DATABASE_POOL_MAX: "1",
    NODE_ID: "one",
  });
  database = new Database({ ...config, DATABASE_URL: testDatabase.url }, silentLogger);
  await database.query({ text: "CREATE TABLE numbers (number integer PRIMARY KEY)" }, []);
});

beforeEach(() => database.query({ text: "TRUNCATE numbers" }, []));

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

describe("a transaction", () => {
  test("does all its statements, those that wait for nothing and those that wait for one before", async () => {
    const before = await database.transaction(async (transaction) => {
      insert(transaction, 1, 2);
      const sum = await sumIn(transaction);
      insert(transaction, 4);
      transaction.enlist(transaction.query(UNNAMED, []));
      return sum;
    });
    expect(before).toBe(3);
    expect(await sumOfAll()).toBe(47);
  });

  test.each<[string, (transaction: DatabaseTransaction) => Promise<unknown>]>([
    ["at once", async () => undefined],
    ["after a wait", sumIn],
  ])("does nothing when a statement fails that it did not wait for, sent %s", async (_, wait) => {
    const working = database.transaction(async (transaction) => {
      insert(transaction, 1);
      await wait(transaction);
      insert(transaction, 2, 2, 3);
    });
    await expect(working).rejects.toMatchObject(UNIQUE_VIOLATION);
    expect(await sumOfAll()).toBe(0);
  });

  test.each<[string, (transaction: DatabaseTransaction) => Promise<unknown>]>([
    ["before anything has left", async () => undefined],
    ["after a wait", sumIn],
  ])("does nothing when its work fails %s", async (_, wait) => {
    const working = database.transaction(async (transaction) => {
      insert(transaction, 1);
      await wait(transaction);
      insert(transaction, 2);
      throw new Error("the work failed");
    });
    await expect(working).rejects.toThrow("the work failed");
    // What is sent by now is sent in the turn in which the work failed.
    await nextTurn();
    expect(await sumOfAll()).toBe(0);
    expect(await isInTransaction()).toBe(false);
  });

  test.each([
    ["committed", async () => undefined],
    ["rolled back", () => Promise.reject(new Error("not done"))],
  ])("that is %s takes no more statements: its connection may be in another one", async (_, end) => {
    let over: DatabaseTransaction | undefined;
    const done = database.transaction(async (transaction) => {
      over = transaction;
      await sumIn(transaction);
      await end();
    });
    await done.catch(() => undefined);

    const other = database.transaction(async (transaction) => {
      await sumIn(transaction);
      await expect(over?.query(UNNAMED, [])).rejects.toThrow("The transaction is over.");
      expect(() => over?.forModels).toThrow("The transaction is over.");
    });
    await other;
    expect(await sumOfAll()).toBe(0);
  });

  test("fails with the error of a statement also when the work has caught it", async () => {
    const working = database.transaction(async (transaction) => {
      insert(transaction, 1);
      await transaction.query(INSERT, [1]).catch(() => undefined);
      insert(transaction, 2);
    });
    await expect(working).rejects.toMatchObject(UNIQUE_VIOLATION);
    expect(await sumOfAll()).toBe(0);
  });

  test("says when it is committed, and nothing when it is not", async () => {
    const seen: Promise<number | undefined>[] = [];
    const look = (transaction: DatabaseTransaction): void =>
      transaction.afterCommit(() => void seen.push(sumOfAll()));
    await database.transaction(async (transaction) => {
      look(transaction);
      insert(transaction, 1, 2);
      expect(await sumIn(transaction)).toBe(3);
      expect(seen).toEqual([]);
    });
    const failing = database.transaction(async (transaction) => {
      look(transaction);
      insert(transaction, 4, 4);
    });
    await expect(failing).rejects.toMatchObject(UNIQUE_VIOLATION);
    expect(await Promise.all(seen)).toEqual([3]);
  });

  test("leaves its connection as it was, with what it came to prepare and what it did not", async () => {
    const backend = await backendPid();
    const late = { name: "test.late", text: "INSERT INTO numbers VALUES ($1 + 1)" };
    const working = database.transaction(async (transaction) => {
      insert(transaction, 1, 1);
      transaction.enlist(transaction.query(late, [1]));
    });
    await expect(working).rejects.toMatchObject(UNIQUE_VIOLATION);

    await database.transaction(async (transaction) => {
      insert(transaction, 1);
      transaction.enlist(transaction.query(late, [1]));
    });
    expect(await sumOfAll()).toBe(3);
    expect(await backendPid()).toBe(backend);
  });

  test("that PostgreSQL ends makes room for one on a new connection", async () => {
    const backend = await backendPid();
    const working = database.transaction(async (transaction) => {
      insert(transaction, 1);
      await transaction.query({ text: "SELECT pg_terminate_backend(pg_backend_pid())" }, []);
    });
    await expect(working).rejects.toMatchObject({ code: "57P01" });
    await database.transaction(async (transaction) => insert(transaction, 2));
    expect(await sumOfAll()).toBe(2);
    expect(await backendPid()).not.toBe(backend);
  });
});

function insert(transaction: DatabaseTransaction, ...numbers: number[]): void {
  for (const number of numbers) transaction.enlist(transaction.query(INSERT, [number]));
}

async function sumIn(transaction: DatabaseTransaction): Promise<number | undefined> {
  return sumOf(await transaction.query<{ sum: number }>(SUM, []));
}

async function sumOfAll(): Promise<number | undefined> {
  return sumOf(await database.query<{ sum: number }>(SUM, []));
}

function sumOf([row]: { sum: number }[]): number | undefined {
  return row?.sum;
}

/** Whether the connection was left in a transaction: two statements outside of one do not begin at the same time. */
async function isInTransaction(): Promise<boolean> {
  const begunAt = { text: "SELECT now()::text AS at" };
  const [first] = await database.query<{ at: string }>(begunAt, []);
  const [second] = await database.query<{ at: string }>(begunAt, []);
  return first?.at === second?.at;
}

async function backendPid(): Promise<unknown> {
  const [row] = await database.query<pg.QueryResultRow>({ text: "SELECT pg_backend_pid() AS pid" }, []);
  return row?.["pid"];
}
