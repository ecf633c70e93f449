import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { capturingLogger, type LogEntry } from "../support/capturing-logger.ts";
import { ask, withKey } from "../support/requests.ts";
import { newUser } from "../support/rest-client.ts";
import { storedEvents, storedUsers } from "../support/stored-rows.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

/** How PostgreSQL says that a COMMIT is done. */
const COMMITTED = "COMMIT\0";
/** The same of a transaction that is a single batch: the answers to its statements leave when it is committed. */
const BATCH_COMMITTED = "INSERT 0 1\0";

/** How many calls of one action a node takes on at once. */
const BULKHEAD = 200;

let nodes: TestNodes;
let caller: ServiceBroker;
/** In front of the database of node `users-a`. */
let proxy: TcpProxy;
let logOfA: readonly LogEntry[];

beforeAll(async () => {
  nodes = await startTestNodes();
  proxy = await startTcpProxy(nodes.databaseUrl);
  const { log, entries } = capturingLogger();
  logOfA = entries;
  const [, , { broker }] = await Promise.all([
    nodes.start({ SERVICES: "users", NODE_ID: "users-a", DATABASE_URL: proxy.url }, log),
    nodes.start({ SERVICES: "users", NODE_ID: "users-b" }),
    nodes.start({ SERVICES: "none" }),
  ]);
  caller = broker;
});

afterAll(async () => {
  await nodes.stop();
  await proxy.stop();
});

describe("a commit whose answer is lost", () => {
  test("creates one user: the broker's retry finds the result of the first attempt", async () => {
    const params = newUser();
    const lost = proxy.loseAnswer(BATCH_COMMITTED);

    const user = await call(caller, "users.create", params, { nodeID: "users-a" });
    await lost;

    expect(await storedUsers(nodes, params.email)).toEqual([user]);
    expect(await storedEvents(nodes, user.id)).toHaveLength(1);
  });

  test("changes a user once", async () => {
    const { id } = await call(caller, "users.create", newUser());
    const lost = proxy.loseAnswer(COMMITTED);

    const params = { id, lastName: "Byron", expectedVersions: [1] };
    const user = await call(caller, "users.update", params, { nodeID: "users-a" });
    await lost;

    expect(user).toMatchObject({ lastName: "Byron", version: 2 });
    expect(await call(caller, "users.get", { id })).toEqual(user);
    expect(await storedEvents(nodes, id)).toHaveLength(2);
  });

  test("tells a caller who does not retry that the database was away, and its own repetition is a replay", async () => {
    const key = randomUUID();
    const params = newUser();
    const lost = proxy.loseAnswer(BATCH_COMMITTED);

    await expect(
      call(caller, "users.create", params, withKey(key, { nodeID: "users-a", retries: 0 })),
    ).rejects.toMatchObject({ type: "DATABASE_UNAVAILABLE", code: 503, retryable: true });
    await lost;

    expect(await ask(caller, "users.create", params, withKey(key))).toMatchObject({ isReplay: true });
    expect(await storedUsers(nodes, params.email)).toHaveLength(1);
  });
});

describe("a session that PostgreSQL ends in the middle of a change", () => {
  test("leaves nothing of the change, and the broker's retry does it once", async () => {
    const { id } = await call(caller, "users.create", newUser());
    const holder = await nodes.openTransaction(["SELECT FROM users.users WHERE id = $1 FOR UPDATE", [id]]);

    const updating = call(caller, "users.update", { id, lastName: "Byron" });
    await nodes.untilBlocked(1);
    await nodes.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    await holder.commit();

    expect(await updating).toMatchObject({ lastName: "Byron", version: 2 });
    expect(await storedEvents(nodes, id)).toHaveLength(2);
  });
});

describe("a call that times out", () => {
  test("and is retried while its first attempt still runs, creates one user", async () => {
    const key = randomUUID();
    const params = newUser();
    const holder = await nodes.openTransaction(["LOCK TABLE users.users IN SHARE MODE"]);

    const creating = call(caller, "users.create", params, withKey(key, { timeout: 1000 }));
    await expect(creating).rejects.toMatchObject({ retryable: true });
    await nodes.untilBlocked(1);
    await holder.commit();

    const created = await waitFor(() => ask(caller, "users.create", params, withKey(key)), {
      description: "the first attempt to end",
    });
    expect(created.isReplay).toBe(true);
    expect(await storedUsers(nodes, params.email)).toEqual([created.result]);
    expect(await storedEvents(nodes, created.result.id)).toHaveLength(1);
  });

  test("while it waits for its turn, is not begun", async () => {
    const { id } = await call(caller, "users.create", newUser());
    const holder = await nodes.openTransaction(["SELECT FROM users.users WHERE id = $1 FOR UPDATE", [id]]);
    const onA = { nodeID: "users-a", retries: 0 };
    const busy = Array.from({ length: BULKHEAD }, () => call(caller, "users.update", { id }, onA));

    const late = call(caller, "users.update", { id, nickname: "late" }, { ...onA, timeout: 200 });
    const next = call(caller, "users.update", { id, nickname: "next" }, onA);
    await expect(late).rejects.toMatchObject({ type: "REQUEST_TIMEOUT" });
    // The node has its own clock, which started a moment later.
    await waitFor(() => logOfA.some(({ msg }) => msg === "Request 'users.update' is timed out."), {
      description: "the call to time out on its node",
    });
    await holder.commit();
    await Promise.all(busy);

    // The node takes them in turn, so when the next one is done, the late one has had its chance.
    expect(await next).toMatchObject({ nickname: "next", version: 2 });
    expect((await storedEvents(nodes, id)).map(({ data }) => data["nickname"])).toEqual([null, "next"]);
  });
});
