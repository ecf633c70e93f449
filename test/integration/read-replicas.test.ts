import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { migrate } from "../../bootstrap/migrate.ts";
import { call } from "../../lib/contracts.ts";
import type { User } from "../../services/users/users.contract.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { startReplica, type TestReplica } from "../support/postgres-replica.ts";
import { startPostgres } from "../support/postgres.ts";
import { newUser } from "../support/rest-client.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { startTestNodes, startUsersPair, type Settings, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const REQUEST_TIMEOUT_MS = 6_000;
const STATEMENT_TIMEOUT_MS = 2_000;
/** A list that asks a frozen replica takes longer than a statement may. */
const UNDELAYED_MS = STATEMENT_TIMEOUT_MS / 2;
const FRESH = { meta: { $cache: false } };

let nodes: TestNodes;
let replica: TestReplica;
/** In front of the replica. */
let proxy: TcpProxy;
let caller: ServiceBroker;
let settings: Settings;

beforeAll(async () => {
  const primary = await startPostgres();
  await migrate(primary.url, silentLogger);
  replica = await startReplica(primary);
  proxy = await startTcpProxy(replica.url);
  nodes = await startTestNodes({ url: primary.url, drop: () => primary.stop() });
  settings = {
    DATABASE_REPLICA_URLS: proxy.url,
    REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
    DATABASE_STATEMENT_TIMEOUT_MS: String(STATEMENT_TIMEOUT_MS),
  };
  ({ caller } = await startUsersPair(nodes, settings));
});

afterEach(async () => {
  replica.thaw();
  await proxy.mend();
  await replica.resumeReplay();
});

afterAll(async () => {
  await proxy.stop();
  await replica.stop();
  await nodes.stop();
});

describe("with a replica that lags", () => {
  test("a user is read by id and by address as it was written", async () => {
    await untilReplicaIsRead();
    await replica.pauseReplay();

    const user = await call(caller, "users.create", newUser());
    expect(await call(caller, "users.get", { id: user.id })).toEqual(user);
    expect(await call(caller, "users.getByEmail", { email: user.email })).toEqual(user);

    const changed = await call(caller, "users.update", { id: user.id, lastName: "King" });
    expect(await call(caller, "users.get", { id: user.id })).toEqual(changed);
  });

  test("a list is what the replica has, and with no-cache what the primary has", async () => {
    await untilReplicaIsRead();
    await replica.pauseReplay();
    const user = await call(caller, "users.create", newUser());

    // A replica that has not answered for a second is not read for a moment.
    await waitFor(async () => (await listOf(user)).length === 0, { description: "a list of the replica" });
    expect(await listOf(user, FRESH)).toEqual([user]);

    await replica.resumeReplay();
    await replica.catchUp();
    expect(await listOf(user)).toEqual([user]);
  });
});

describe("a replica that is lost", () => {
  test("fails no list: the primary answers until it is back, then it is read again", async () => {
    await untilReplicaIsRead();
    await replica.pauseReplay();
    const user = await call(caller, "users.create", newUser());

    await proxy.cut();
    const lists = await Promise.all(Array.from({ length: 10 }, () => listOf(user)));
    expect(lists).toEqual(lists.map(() => [user]));

    await proxy.mend();
    await waitFor(async () => (await listOf(user)).length === 0, {
      description: "the replica to be read again",
    });
  });

  test("by freezing fails no list, and delays few", async () => {
    await untilReplicaIsRead();
    await replica.pauseReplay();
    const user = await call(caller, "users.create", newUser());

    replica.freeze();
    const startedAt = performance.now();
    expect(await listOf(user, { retries: 0 })).toEqual([user]);
    expect(performance.now() - startedAt).toBeLessThan(REQUEST_TIMEOUT_MS);
    await waitFor(async () => (await durationOf(() => listOf(user))) < UNDELAYED_MS, {
      description: "lists that do not ask the frozen replica first",
    });

    replica.thaw();
    await waitFor(async () => (await listOf(user)).length === 0, {
      description: "the replica to be read again",
    });
  });

  test("before the node starts does not keep it from starting, and is in the log", async () => {
    const { log, entries } = capturingLogger();
    await proxy.cut();

    const node = await nodes.start({ SERVICES: "users", NATS_URL: "", ...settings }, log);

    expect(await call(node.broker, "users.list", {})).toMatchObject({ data: expect.any(Array) });
    const says = (msg: string) =>
      entries.some((entry) => entry.msg === msg && entry["dependency"] === "replica-1");
    expect(says("dependency lost")).toBe(true);
    await proxy.mend();
    await waitFor(() => says("dependency back"), { description: "the log to say that it is back" });
    await node.stop();
  });
});

async function listOf({ email }: User, options = {}): Promise<User[]> {
  const { data } = await call(caller, "users.list", { email }, options);
  return data;
}

/** A node that has just lost its replica reads from the primary until it has found it again. */
async function untilReplicaIsRead(): Promise<void> {
  await replica.pauseReplay();
  const user = await call(caller, "users.create", newUser());
  let misses = 0;
  const isReadByBoth = async (): Promise<boolean> => {
    misses = (await listOf(user)).length === 0 ? misses + 1 : 0;
    return misses === 4;
  };
  await waitFor(isReadByBoth, { description: "both nodes to read from the replica" });
  await replica.resumeReplay();
  await replica.catchUp();
}

async function durationOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
