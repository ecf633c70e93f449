import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";

import { failuresOf, isUnavailable, startLoad, untilMoreRequests, type Load } from "../support/rest-load.ts";
import { startCluster, untilReady, type Cluster } from "../support/rollcall-cluster.ts";
import { untilLogged } from "../support/rollcall-process.ts";
import { waitFor } from "../support/wait-for.ts";
import { auditAfterResending, auditWrites, NOTHING_WRONG } from "../support/write-audit.ts";

const STEADY_REQUESTS = 300;
const REQUEST_TIMEOUT_MS = 4_000;

let cluster: Cluster;
let load: Load | undefined;
const databaseUrl = (): string => cluster.postgres.url;

beforeAll(async () => {
  cluster = await startCluster();
});

afterEach(async () => {
  await load?.stop();
  await untilReady(cluster.url);
});

afterAll(() => cluster.stop());

describe("PostgreSQL", () => {
  test("restarted under load, costs 503s until 5 s after it is back at the latest, and no write is lost or done twice", async () => {
    load = startLoad(cluster);
    await untilMoreRequests(load, STEADY_REQUESTS);

    await cluster.postgres.stop();
    await untilMoreRequests(load, 40);
    await cluster.postgres.restart();
    const backAt = performance.now();
    await untilReady(cluster.url);
    await untilMoreRequests(load, STEADY_REQUESTS);
    const records = await load.stop();

    const failures = failuresOf(records);
    expect(failures.length).toBeGreaterThan(0);
    expect(failures.filter(({ endedAt }) => endedAt > backAt + 5_000)).toEqual([]);
    expect(failures.filter(({ problem }) => problem !== "DATABASE_UNAVAILABLE")).toEqual([]);
    expect(failures.filter(({ status }) => status !== 503)).toEqual([]);
    expect(await auditWrites(databaseUrl(), records)).toEqual(NOTHING_WRONG);
    expect(await auditAfterResending(databaseUrl(), cluster.client, records)).toEqual(NOTHING_WRONG);
    expect([cluster.users.isRunning, cluster.gateway.isRunning]).toEqual([true, true]);
  });

  test("away, makes readiness false within 3 s but not liveness, and the log says when it is lost and back", async () => {
    await cluster.postgres.stop();
    await readinessIs(503, 3_000);

    const isSaid = async (): Promise<boolean> => {
      expect(await health("ready")).toMatchObject({
        status: "down",
        dependencies: { users: { status: "up" }, postgresql: { status: "down", latencyMs: null } },
      });
      return true;
    };
    // A busy node of users may itself have been too slow at first.
    await waitFor(isSaid, { description: "the reason to be said" });
    expect(await health("live")).toEqual({ status: "up" });
    await untilLogged(cluster.users, { dependency: "postgresql", level: "error", msg: "dependency lost" });

    await cluster.postgres.restart();
    await readinessIs(200, 5_000);
    await untilLogged(cluster.users, { dependency: "postgresql", level: "info", msg: "dependency back" });
  });
});

describe("NATS", () => {
  test("killed under load, costs 503s and 504s within the request timeout until 5 s after it is back, and no write is lost or done twice", async () => {
    load = startLoad(cluster);
    await untilMoreRequests(load, STEADY_REQUESTS);

    await cluster.nats.kill();
    await readinessIs(503, 3_000);
    expect(await health("live")).toEqual({ status: "up" });
    await untilMoreRequests(load, STEADY_REQUESTS);

    await cluster.nats.restart();
    await readinessIs(200, 5_000);
    const recoveredAt = performance.now();
    await untilMoreRequests(load, STEADY_REQUESTS);
    const records = await load.stop();

    const failures = failuresOf(records);
    expect(failures.length).toBeGreaterThan(0);
    expect(failures.filter((failure) => !isUnavailable(failure))).toEqual([]);
    expect(failures.filter(({ startedAt }) => startedAt > recoveredAt)).toEqual([]);
    expect(records.filter(({ startedAt, endedAt }) => endedAt - startedAt > REQUEST_TIMEOUT_MS)).toEqual([]);
    expect(await auditWrites(databaseUrl(), records)).toEqual(NOTHING_WRONG);
    expect(await auditAfterResending(databaseUrl(), cluster.client, records)).toEqual(NOTHING_WRONG);
    await untilLogged(cluster.gateway, { dependency: "nats", level: "error", msg: "dependency lost" });
    await untilLogged(cluster.gateway, { dependency: "nats", level: "info", msg: "dependency back" });
  });
});

describe("Redis", () => {
  test.each(["killed", "frozen"])("%s under load and back again, costs no request", async (fault) => {
    load = startLoad(cluster);
    await untilMoreRequests(load, STEADY_REQUESTS);
    const lines = cluster.users.log.length;

    if (fault === "killed") await cluster.redis.kill();
    else cluster.redis.freeze();
    await untilHealthSays("redis", "down");
    // Each node finds out for itself.
    const lost = { dependency: "redis", level: "error", msg: "dependency lost" };
    await untilLogged(cluster.users, lost, lines);
    expect((await cluster.client.get("/health/ready")).status).toBe(200);
    await untilMoreRequests(load, STEADY_REQUESTS);

    await cluster.redis.restart();
    await untilHealthSays("redis", "up");
    await untilMoreRequests(load, STEADY_REQUESTS);
    const records = await load.stop();

    expect(failuresOf(records)).toEqual([]);
    expect(await auditWrites(databaseUrl(), records)).toEqual(NOTHING_WRONG);
  });
});

async function readinessIs(status: number, timeoutMs: number): Promise<void> {
  await waitFor(async () => (await cluster.client.get("/health/ready")).status === status, {
    description: `readiness to be ${status}`,
    timeoutMs,
  });
}

async function health(kind: "live" | "ready"): Promise<unknown> {
  return (await cluster.client.get(`/health/${kind}`)).json;
}

async function untilHealthSays(dependency: string, status: "up" | "down"): Promise<void> {
  await waitFor(
    async () => {
      const { dependencies } = (await health("ready")) as {
        dependencies: Record<string, { status: string }>;
      };
      return dependencies[dependency]?.status === status;
    },
    { description: `${dependency} to be ${status}` },
  );
}
