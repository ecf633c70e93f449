import { afterAll, beforeAll, expect, test } from "@jest/globals";

import { failuresOf, isUnavailable, startLoad, untilMoreRequests } from "../support/rest-load.ts";
import { startCluster, untilReady, type Cluster } from "../support/rollcall-cluster.ts";
import { waitFor } from "../support/wait-for.ts";
import { auditAfterResending, auditWrites, NOTHING_WRONG } from "../support/write-audit.ts";

/** How long after `kill -9` of a node a request may still fail. */
const MAX_ERRORS_MS = 8_000;
const STEADY_REQUESTS = 400;

let cluster: Cluster;
const databaseUrl = (): string => cluster.postgres.url;

beforeAll(async () => {
  cluster = await startCluster();
}, 60_000);

afterAll(() => cluster.stop(), 30_000);

test("no request fails while one of two users nodes stops at SIGTERM", async () => {
  const node = await cluster.addUsersNode();
  const load = startLoad(cluster.url);
  await untilMoreRequests(load, STEADY_REQUESTS);

  const { exitCode } = await node.stop();
  await untilMoreRequests(load, STEADY_REQUESTS);
  const records = await load.stop();

  expect(exitCode).toBe(0);
  expect(failuresOf(records)).toEqual([]);
  expect(await auditWrites(databaseUrl(), records)).toEqual(NOTHING_WRONG);
}, 40_000);

test("after kill -9 of one of two users nodes, requests fail with 503 or 504 for at most 8 s and no write is lost or done twice", async () => {
  const node = await cluster.addUsersNode();
  const load = startLoad(cluster.url);
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
}, 60_000);

test("a gateway that stops at SIGTERM answers every request, and tells its clients to go elsewhere", async () => {
  const gateway = await cluster.addGateway();
  await untilReady(gateway.url);
  const load = startLoad(gateway.url, { endOnClose: true });
  await untilMoreRequests(load, STEADY_REQUESTS);

  const { exitCode } = await gateway.stop();

  expect(exitCode).toBe(0);
  expect(load.running).toBe(0);
  expect(failuresOf(load.records)).toEqual([]);
  expect(await auditWrites(databaseUrl(), load.records)).toEqual(NOTHING_WRONG);
}, 40_000);
