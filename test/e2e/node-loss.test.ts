import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";

import { ADMIN } from "../support/admin.ts";
import { failuresOf, isUnavailable, startLoad, untilMoreRequests, type Load } from "../support/rest-load.ts";
import { startCluster, untilReady, type Cluster } from "../support/rollcall-cluster.ts";
import { untilLogged } from "../support/rollcall-process.ts";
import { whileLocked } from "../support/row-locks.ts";
import { waitFor } from "../support/wait-for.ts";
import { auditAfterResending, auditWrites, NOTHING_WRONG } from "../support/write-audit.ts";

/** How long after `kill -9` of a node a request may still fail. */
const MAX_ERRORS_MS = 8_000;
const STEADY_REQUESTS = 400;

let cluster: Cluster;
let load: Load | undefined;
const databaseUrl = (): string => cluster.postgres.url;

beforeAll(async () => {
  cluster = await startCluster();
});

afterEach(() => load?.stop());

afterAll(() => cluster.stop());

test("no request fails while one of two users nodes stops at SIGTERM", async () => {
  const node = await cluster.addUsersNode();
  load = startLoad(cluster);
  await untilMoreRequests(load, STEADY_REQUESTS);

  const { exitCode } = await node.stop();
  await untilMoreRequests(load, STEADY_REQUESTS);
  const records = await load.stop();

  expect(exitCode).toBe(0);
  expect(failuresOf(records)).toEqual([]);
  expect(await auditWrites(databaseUrl(), records)).toEqual(NOTHING_WRONG);
});

test("a users node that stops at SIGTERM finishes the calls it has", async () => {
  const node = await cluster.addUsersNode({ DRAIN_DELAY_MS: "100" });
  const users = await Promise.all(Array.from({ length: 6 }, () => cluster.client.createUser()));
  const ids = users.map(({ id }) => id);

  const { changes, stopped } = await whileLocked(databaseUrl(), ids, async (lock) => {
    const waiting = ids.map((id) => cluster.client.patch(`/api/v1/users/${id}`, { nickname: "x" }));
    // In turn, so every other one on the node that stops.
    await lock.untilBlocked(ids.length);
    const before = await lock.blocked();
    const stopping = node.stop();
    await waitFor(() => node.log.some(({ msg }) => /^Waiting for \d+ running context/.test(msg)), {
      description: "the node to wait for its calls",
      intervalMs: 5,
    });
    // A call that was lost would wait on the other node now.
    expect(await lock.blocked()).toEqual(before);
    return { changes: waiting, stopped: stopping };
  });

  const answers = await Promise.all(changes);
  expect(answers.map(({ status }) => status)).toEqual(ids.map(() => 200));
  // Nor was an answer lost, for which a call would be done again.
  expect(answers.map(({ headers }) => headers["idempotent-replayed"])).toEqual(ids.map(() => undefined));
  expect(await stopped).toEqual({ exitCode: 0, signal: null });
});

test("after kill -9 of one of two users nodes, requests fail with 503 or 504 for at most 8 s and no write is lost or done twice", async () => {
  const node = await cluster.addUsersNode();
  load = startLoad(cluster);
  await untilMoreRequests(load, STEADY_REQUESTS);

  const killedAt = performance.now();
  await node.kill();
  await waitFor(() => performance.now() > killedAt + MAX_ERRORS_MS, {
    description: "the end of the time in which requests may fail",
    timeoutMs: 2 * MAX_ERRORS_MS,
  });
  await untilMoreRequests(load, STEADY_REQUESTS);
  const records = await load.stop();

  const failures = failuresOf(records);
  expect(failures.filter(({ endedAt }) => endedAt > killedAt + MAX_ERRORS_MS)).toEqual([]);
  expect(failures.filter((failure) => !isUnavailable(failure))).toEqual([]);
  expect(await auditWrites(databaseUrl(), records)).toEqual(NOTHING_WRONG);
  expect(await auditAfterResending(databaseUrl(), cluster.client, records)).toEqual(NOTHING_WRONG);
});

test("a users node that hangs for a while costs only 503s and 504s, and does no write again that another one has done", async () => {
  const node = await cluster.addUsersNode();
  load = startLoad(cluster);
  await untilMoreRequests(load, STEADY_REQUESTS);

  node.signal("SIGSTOP");
  const id = String(node.log[0]?.["node"]);
  const isLost = { msg: `Heartbeat is not received from '${id}' node.` };
  await untilLogged(cluster.gateway, isLost);
  node.signal("SIGCONT");
  await untilMoreRequests(load, STEADY_REQUESTS);
  const records = await load.stop();
  await node.stop();

  expect(failuresOf(records).filter((failure) => !isUnavailable(failure))).toEqual([]);
  expect(await auditWrites(databaseUrl(), records)).toEqual(NOTHING_WRONG);
  expect(await auditAfterResending(databaseUrl(), cluster.client, records)).toEqual(NOTHING_WRONG);
});

test("a gateway that stops at SIGTERM answers every request, and tells its clients to go elsewhere", async () => {
  const gateway = await cluster.addGateway();
  await untilReady(gateway.url);
  load = startLoad({ url: gateway.url, token: cluster.token }, { endOnClose: true });
  await untilMoreRequests(load, STEADY_REQUESTS);

  const { exitCode } = await gateway.stop();

  expect(exitCode).toBe(0);
  // One that was not told would go on in vain.
  await waitFor(() => load?.running === 0, { description: "all clients to go elsewhere" });
  expect(failuresOf(load.records)).toEqual([]);
  expect(await auditWrites(databaseUrl(), load.records)).toEqual(NOTHING_WRONG);
});

test("without a node of auth, who has a session goes on, and who logs in is told to wait", async () => {
  const auth = cluster.nodes.find(({ log }) => log.some(({ services }) => String(services) === "auth"));
  await auth?.kill();
  const health = async (): Promise<string> => (await cluster.client.get("/health/ready")).text;
  await waitFor(async () => (await health()).includes('"auth":{"status":"down"'), {
    description: "the loss to be known",
  });

  const read = await cluster.client.get("/api/v1/users?limit=1");
  const login = await cluster.client.post("/api/v1/auth/login", ADMIN);

  expect(JSON.parse(await health())).toMatchObject({
    status: "degraded",
    dependencies: { users: { status: "up" } },
  });
  expect([read.status, login.status]).toEqual([200, 503]);
});
