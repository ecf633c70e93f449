import { randomUUID } from "node:crypto";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { loadConfig } from "../../lib/config.ts";
import { call } from "../../lib/contracts.ts";
import { Database } from "../../lib/database.ts";
import { DatabaseMixin, type DatabaseMixinThis } from "../../mixins/database.mixin.ts";
import { userModel } from "../../services/users/users.model.ts";
import { ADMIN_SETTINGS, adminClient } from "../support/admin.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { problemOf } from "../support/problems.ts";
import { newUser } from "../support/rest-client.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { storedEvents } from "../support/stored-rows.ts";
import { createTestBroker } from "../support/test-broker.ts";
import { portOf } from "../support/test-gateway.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const POOL_MAX = 3;
/** A node has one connection beside its pool, which tells it whether the database is there. */
const WATCHING = 1;
/** The one that looks, and the one that keeps a lock. */
const CONNECTIONS_OF_TEST = 2;
/** Long after a call has given up waiting for a connection, long before its caller gives up waiting for an answer. */
const STATEMENT_TIMEOUT_MS = 5_000;

let nodes: TestNodes;
let caller: ServiceBroker;
const { log, entries } = capturingLogger();

beforeAll(async () => {
  nodes = await startTestNodes();
  const settings = {
    SERVICES: "users",
    NODE_ID: "owner",
    DATABASE_POOL_MAX: String(POOL_MAX),
    DATABASE_STATEMENT_TIMEOUT_MS: String(STATEMENT_TIMEOUT_MS),
    DATABASE_ACQUIRE_TIMEOUT_MS: "2000",
  };
  await nodes.start(settings, log);
  caller = (await nodes.start({ SERVICES: "none" })).broker;
});

afterAll(() => nodes.stop());

describe("the connections of a node", () => {
  test("are no more than its pool has, and one that watches, however many calls there are", async () => {
    const holder = await nodes.openTransaction(["LOCK TABLE users.users"]);
    // Of an action that is of no use to the other tests: those that wait too long open its circuit.
    const restore = () => call(caller, "users.restore", { id: randomUUID() }, { retries: 0 });
    const calls = Array.from({ length: 50 }, restore);
    const settled = Promise.allSettled(calls);
    await nodes.untilBlocked(POOL_MAX);

    expect(await backends("rollcall owner")).toBe(POOL_MAX);
    expect(await backends()).toBe(POOL_MAX + WATCHING + CONNECTIONS_OF_TEST);
    await holder.commit();
    await settled;
  });

  test("are the same for all its services", async () => {
    // All calls have to wait for as long as it takes to see that they do.
    const patient = {
      NODE_ID: "several",
      REQUEST_TIMEOUT_MS: "60000",
      DATABASE_STATEMENT_TIMEOUT_MS: "50000",
    };
    const pool = { DATABASE_POOL_MAX: String(POOL_MAX), DATABASE_ACQUIRE_TIMEOUT_MS: "50000" };
    const config = loadConfig({ ...patient, ...pool });
    const database = new Database({ ...config, DATABASE_URL: nodes.databaseUrl }, silentLogger);
    const broker = createTestBroker(patient);
    const names = Array.from({ length: 10 }, (_, number) => `service-${number}`);
    for (const name of names) broker.createService(serviceOn(database, name));
    await broker.start();

    const holder = await nodes.openTransaction(["LOCK TABLE users.users"]);
    const calls = names.map((name) => broker.call(`${name}.count`));
    await nodes.untilBlocked(POOL_MAX);
    expect(await backends("rollcall several")).toBe(POOL_MAX);
    await holder.commit();

    expect(await Promise.all(calls)).toEqual(names.map(() => expect.any(Number)));
    await broker.stop();
    await database.close();
    await waitFor(async () => (await backends("rollcall several")) === 0, {
      description: "the connections to be closed",
    });
  });
});

describe("a call that the database does not answer", () => {
  test.each(["users.get", "users.update"] as const)(
    "to %s ends in time, and so does its statement",
    async (action) => {
      const { id } = await call(caller, "users.create", newUser());
      const holder = await nodes.openTransaction(["LOCK TABLE users.users"]);

      await expect(
        call(caller, action, { id }, { retries: 0, meta: { $cache: false } }),
      ).rejects.toMatchObject({
        type: "DATABASE_UNAVAILABLE",
        code: 503,
        retryable: true,
      });

      await nodes.untilBlocked(0);
      await holder.commit();
      expect(await storedEvents(nodes, id)).toHaveLength(1);
      expect(await call(caller, action, { id })).toMatchObject({ id });
    },
  );

  test("as all connections are in use ends without waiting for them", async () => {
    const { id } = await call(caller, "users.create", newUser());
    const holder = await nodes.openTransaction(["SELECT FROM users.users WHERE id = $1 FOR UPDATE", [id]]);
    const holding = Array.from({ length: POOL_MAX }, () => call(caller, "users.update", { id, bio: "held" }));
    await nodes.untilBlocked(POOL_MAX);

    await expect(call(caller, "users.list", {}, { retries: 0 })).rejects.toMatchObject({
      type: "DATABASE_UNAVAILABLE",
    });
    expect(await backends("rollcall owner")).toBe(POOL_MAX);
    await holder.commit();

    await Promise.all(holding);
    expect(await call(caller, "users.list", {})).toMatchObject({ data: expect.any(Array) });
  });
});

describe("an error of PostgreSQL that nobody expects", () => {
  const RENAMED = "column_of_another_version";

  afterEach(() => nodes.sql(`ALTER TABLE users.users RENAME COLUMN ${RENAMED} TO bio`));

  test("is an internal error to clients and other services, without its text, and whole in the log", async () => {
    const { broker } = await nodes.start({ SERVICES: "auth,api", ...ADMIN_SETTINGS }, log);
    const client = await adminClient(`http://127.0.0.1:${portOf(broker)}`);
    await nodes.sql(`ALTER TABLE users.users RENAME COLUMN bio TO ${RENAMED}`);

    const error = await call(caller, "users.list", {}).catch((reason: unknown) => reason);
    const response = await client.get("/api/v1/users");
    client.close();

    expect(error).toMatchObject({ type: "INTERNAL_ERROR", code: 500, retryable: false });
    expect(wholeText(error)).not.toMatch(/column|bio|select/i);
    expect(problemOf(response)).toMatchObject({ status: 500, code: "INTERNAL_ERROR" });
    expect(response.text).not.toMatch(/column|bio|select/i);

    const { requestId } = problemOf(response);
    const lines = () => entries.filter((entry) => entry["requestId"] === requestId).map(({ msg }) => msg);
    await waitFor(() => lines().includes("request failed"), { description: "the log of the request" });
    expect(lines()).toContain("action failed");
    expect(JSON.stringify(entries.filter(({ msg }) => msg === "action failed"))).toMatch(
      /column .{0,3}bio.{0,3} does not exist/,
    );
  });
});

/** How many connections the database has, all or those of one application. */
async function backends(application?: string): Promise<number> {
  const { count } = await nodes.sqlOne<{ count: number }>(
    `SELECT count(*)::integer FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend'
       AND application_name = coalesce($1, application_name)`,
    [application],
  );
  return count;
}

/** A service on the users' table, as services with tables of their own would be. */
function serviceOn(database: Database, name: string) {
  return {
    name,
    mixins: [DatabaseMixin({ database, model: userModel, toEntity: (row: object) => row })],
    actions: {
      count(this: DatabaseMixinThis<object>) {
        return this.model.count();
      },
    },
  };
}

function wholeText(error: unknown): string {
  const { message, stack, data, cause } = error as Error & { data?: unknown };
  return JSON.stringify({ message, stack, data, cause, error });
}
