import { request as openRequest, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import type { RunningNode } from "../../bootstrap/running-node.ts";
import { call } from "../../lib/contracts.ts";
import { newId } from "../../lib/ids.ts";
import { metricsPortOf, type MetricsPort } from "../support/metrics-port.ts";
import { complaintsAbout, startPrometheus, type TestPrometheus } from "../support/prometheus.ts";
import { newUser, RestClient } from "../support/rest-client.ts";
import { createTestAuth } from "../support/test-auth.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const PROMETHEUS_TIMEOUT_MS = 40_000;
const USER_ROUTE = "/api/v1/users/:id";

/** Of names that are fixed by what others read: moleculer-prometheus and the dashboards made for it. */
const ACCEPTED_COMPLAINTS = new Set(
  [
    ...["nodes", "services", "actions", "events"].map((name) => `moleculer_${name}_total`),
    ...["action", "service", "event"].map((name) => `moleculer_${name}_endpoints_total`),
  ]
    .map((name) => `${name} non-counter metrics should not have "_total" suffix`)
    .concat(
      [
        "moleculer_nodes",
        "moleculer_req_total",
        "moleculer_req_errors_total",
        "moleculer_req_duration_ms",
      ].map((name) => `${name} label names should be written in 'snake_case' not 'camelCase'`),
      "moleculer_req_duration_ms metric names should not contain abbreviated units",
    ),
);

let nodes: TestNodes;
let api: RunningNode;
let ports: { api: MetricsPort; usersA: MetricsPort; usersB: MetricsPort };
let prometheus: TestPrometheus;
let client: RestClient;

beforeAll(async () => {
  nodes = await startTestNodes();
  const start = (settings: Record<string, string>) => nodes.start({ METRICS_PORT: "0", ...settings });
  const [gateway, usersA, usersB] = await Promise.all([
    start({ SERVICES: "api", NODE_ID: "api" }),
    start({ SERVICES: "users", NODE_ID: "users-a" }),
    start({ SERVICES: "users", NODE_ID: "users-b" }),
  ]);
  api = gateway;
  ports = { api: metricsPortOf(api), usersA: metricsPortOf(usersA), usersB: metricsPortOf(usersB) };
  prometheus = await startPrometheus(Object.values(ports).map(({ address }) => address));
  // Instead of the real one, which would need a node or a database that no test here is about.
  const auth = createTestAuth();
  api.broker.createService(auth.service);
  client = new RestClient(gatewayUrl(api), { token: await auth.tokenOf({ id: newId(), role: "admin" }) });
});

afterAll(async () => {
  client.close();
  await prometheus.stop();
  await nodes.stop();
});

function gatewayUrl({ broker }: RunningNode): string {
  const { server } = broker.getLocalService("api") as unknown as { server: Server };
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Waits until a query of Prometheus gives exactly this. */
async function untilQuery(expression: string, expected: number | undefined): Promise<void> {
  await waitFor(async () => (await prometheus.query(expression)) === expected, {
    description: `${expression} to be ${expected}`,
    timeoutMs: PROMETHEUS_TIMEOUT_MS,
    intervalMs: 100,
  });
}

describe("a Prometheus server", () => {
  test("has all nodes as targets that are up", async () => {
    const up = Object.fromEntries(Object.values(ports).map(({ address }) => [address, "up"]));

    const areUp = async () => JSON.stringify(await prometheus.targets()) === JSON.stringify(up);
    const waiting = waitFor(areUp, {
      description: "three targets to be up",
      timeoutMs: PROMETHEUS_TIMEOUT_MS,
    });
    await expect(waiting).resolves.toBe(true);
    await untilQuery("sum(up)", 3);
  });

  test("answers with the requests that were made, at the gateway and on the nodes behind it", async () => {
    const get = async () => expect((await client.get(`/api/v1/users/${newId()}`)).status).toBe(404);
    const requests = `http_requests_total{method="GET",route="${USER_ROUTE}",status="404"}`;
    const calls = 'moleculer_req_total{action="users.get"}';
    const before = (await prometheus.query(`sum(${calls})`)) ?? 0;
    await get();
    await untilQuery(`sum(${requests})`, 1);
    for (let request = 0; request < 30; request += 1) await get();
    await untilQuery(`sum(${requests})`, 31);
    await untilQuery(`sum(${calls})`, before + 31);

    const increase = await prometheus.query(`sum(increase(${requests}[1m]))`);
    expect(increase).toBeGreaterThanOrEqual(30);
    // Prometheus extends what it has seen, over one interval of its scrapes at least, by a thirtieth of that before and by
    // up to 1.1 intervals after it.
    expect(increase).toBeLessThanOrEqual(64);
    expect(await prometheus.query(`sum(rate(${calls}[1m])) > 0`)).toBeGreaterThan(0);
    await untilQuery(`count(${calls} > 0)`, 2);
    await untilQuery(`sum(moleculer_req_errors_total{action="users.get",errorCode="404"})`, 31);
    expect(
      await prometheus.query(
        `histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{route="${USER_ROUTE}"}[1m])))`,
      ),
    ).toBeGreaterThan(0);
    await untilQuery(`sum(moleculer_req_duration_ms_count{action="users.get"})`, 31);
  });
});

describe("what a node shows", () => {
  test.each(["api", "usersA", "usersB"] as const)(
    "is as promtool wants it, but for names that are fixed: %s",
    async (name) => {
      const { text } = await ports[name].scrape();

      const complaints = await complaintsAbout(text);
      expect(complaints.filter((line) => !ACCEPTED_COMPLAINTS.has(line))).toEqual([]);
    },
  );

  test.each(["api", "usersA", "usersB"] as const)(
    "has its process, event loop and garbage collection: %s",
    async (name) => {
      const text = await ports[name].scrape();

      expect(text.value("process_resident_memory_bytes")).toBeGreaterThan(1e7);
      expect(text.value("process_cpu_seconds_total")).toBeGreaterThan(0);
      expect(text.value("nodejs_eventloop_lag_p99_seconds")).toBeGreaterThan(0);
      expect(text.all("nodejs_gc_duration_seconds_count").length).toBeGreaterThan(0);
      expect(text.value("nodejs_heap_size_used_bytes")).toBeGreaterThan(1e6);
    },
  );

  test("has patterns of routes, never paths, and neither methods nor paths of a client's own", async () => {
    const secret = newId();
    await client.get(`/api/v1/users/${secret}?fields=${secret}`);
    await client.get(`/${secret}`);
    await client.get(`/api/v1/users/%E0%A4%A?${secret}`);
    await client.request("PROPFIND", `/api/v1/users/${secret}`);
    await client.get("/health/live");
    await client.post("/api/v1/profiles", newUser());

    const last = { route: "/api/v1/profiles", status: "201" };
    await waitFor(async () => (await ports.api.scrape()).value("http_requests_total", last), {
      description: "the last request to be counted",
    });
    const text = await ports.api.scrape();
    expect(text.text).not.toContain(secret);
    expect(text.value("http_requests_total", { route: "unmatched", status: "404" })).toBe(1);
    expect(text.value("http_requests_total", { route: USER_ROUTE, method: "other", status: "405" })).toBe(1);
    expect(text.value("http_requests_total", { route: "/health/live", status: "200" })).toBe(1);
    const routes = new Set(text.all("http_requests_total").map(({ labels }) => labels["route"]));
    expect(
      [...routes].filter((route) => route !== "unmatched" && !/^\/(?:[a-z0-9:-]+\/?)+$/.test(String(route))),
    ).toEqual([]);
  });

  test("has a request whose client left before the answer as 499", async () => {
    const { id } = await client.createUser();
    const holder = await nodes.openTransaction(["SELECT FROM users.users WHERE id = $1 FOR UPDATE", [id]]);
    const leaving = openRequest(`${gatewayUrl(api)}/api/v1/users/${id}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${client.token}` },
      agent: false,
    });
    leaving.on("error", () => undefined).end();
    await nodes.untilBlocked(1);
    leaving.destroy();

    const count = async () =>
      (await ports.api.scrape()).all("http_requests_total", { method: "DELETE", route: USER_ROUTE });
    await waitFor(async () => (await count()).length > 0, { description: "the request to be counted" });
    await holder.rollback();
    expect(await count()).toMatchObject([{ labels: { status: "499" }, value: 1 }]);
  });

  test("has the use of its database pools, and the gateway has none", async () => {
    const busy = await nodes.start({
      SERVICES: "users",
      METRICS_PORT: "0",
      DATABASE_POOL_MAX: "2",
      DATABASE_REPLICA_URLS: nodes.databaseUrl,
      DATABASE_ACQUIRE_TIMEOUT_MS: "10000",
    });
    const port = metricsPortOf(busy);
    const { id } = await client.createUser();
    const holder = await nodes.openTransaction(["SELECT FROM users.users WHERE id = $1 FOR UPDATE", [id]]);
    const update = (nickname: string) =>
      call(busy.broker, "users.update", { id, nickname }, { nodeID: busy.broker.nodeID });
    const updates = [update("first"), update("second"), update("third")];
    await nodes.untilBlocked(2);

    const connections = { server: "primary", state: "in_use" };
    const waiting = async () =>
      (await port.scrape()).value("database_pool_waiting_requests", { server: "primary" }) ?? 0;
    // The node itself uses a connection now and then, and then waits too.
    await waitFor(async () => (await waiting()) >= 1, { description: "a request to wait for a connection" });
    const text = await port.scrape();
    expect(text.value("database_pool_connections", connections)).toBe(2);
    expect(text.value("database_pool_connections", { ...connections, server: "replica-1" })).toBe(0);
    await holder.rollback();
    await Promise.all(updates);
    const isIdle = async (): Promise<boolean> => {
      const after = await port.scrape();
      return (
        after.value("database_pool_connections", connections) === 0 &&
        after.value("database_pool_connections", { ...connections, state: "idle" }) === 2 &&
        after.value("database_pool_waiting_requests", { server: "primary" }) === 0
      );
    };
    await waitFor(isIdle, { description: "the pool to be idle" });
    await busy.stop();

    expect((await ports.api.scrape()).text).not.toContain("database_pool");
  });

  test("follows the nodes that come and go, and keeps nothing of what they brought", async () => {
    const guest = await nodes.start({ SERVICES: "users", NODE_ID: "guest" });
    guest.broker.createService({
      name: "visiting",
      actions: { see: () => "seen" },
      events: { "seen-once": () => undefined },
    });
    const shows = async (count: number) => {
      const text = await ports.api.scrape();
      return (
        text.value("moleculer_nodes_total") === count &&
        text.value("moleculer_service_endpoints_total", { service: "users" }) === count - 1 &&
        text.value("moleculer_action_endpoints_total", { action: "users.get" }) === count - 1
      );
    };
    await waitFor(() => shows(4), { description: "four nodes to be shown" });
    await waitFor(
      async () =>
        (await ports.api.scrape()).value("moleculer_action_endpoints_total", { action: "visiting.see" }) ===
        1,
      {
        description: "the service of the guest to be shown",
      },
    );
    expect((await ports.api.scrape()).value("moleculer_nodes", { nodeID: "guest" })).toBe(1);
    await untilQuery("max(moleculer_nodes_total)", 4);

    await guest.stop();
    await waitFor(() => shows(3), { description: "three nodes to be shown" });
    const withoutGuest = await ports.api.scrape();
    // Known, but not there, until the registry forgets it.
    expect(withoutGuest.value("moleculer_nodes", { nodeID: "guest" })).toBe(0);
    expect(withoutGuest.all("moleculer_service_endpoints_total", { service: "visiting" })).toEqual([]);
    expect(withoutGuest.value("moleculer_action_endpoints_total", { action: "visiting.see" })).toBe(0);
    await untilQuery("max(moleculer_nodes_total)", 3);
    await untilQuery('count(moleculer_service_endpoints_total{service="visiting"})', undefined);

    (api.broker.registry.nodes as unknown as { delete(id: string): void }).delete("guest");
    expect((await ports.api.scrape()).text).not.toContain("guest");
  });

  test("is whole for each of those who ask at the same time", async () => {
    const texts = await Promise.all(Array.from({ length: 20 }, () => ports.api.scrape()));

    for (const text of texts) {
      expect(text.all("moleculer_nodes").length).toBeGreaterThanOrEqual(3);
      expect(text.all("moleculer_action_endpoints_total", { action: "users.get" })).toHaveLength(1);
    }
  });
});

describe("the port for metrics", () => {
  test("takes a query, and only GET and HEAD of what there is", async () => {
    const answers = await Promise.all([
      ports.api.request("GET", "/metrics?name=value"),
      ports.api.request("HEAD", "/metrics"),
      ports.api.request("POST", "/metrics"),
      ports.api.request("GET", "/"),
      ports.api.request("GET", "/api/v1/users"),
    ]);

    expect(answers.map(({ status }) => status)).toEqual([200, 200, 405, 404, 404]);
    expect(answers[0]?.headers["content-type"]).toContain("text/plain; version=0.0.4");
    expect(answers[1]?.bytes).toHaveLength(0);
    expect(answers[2]?.headers["allow"]).toBe("GET, HEAD");
  });

  test("is one of its own on each node, and Moleculer's own metrics stay off", () => {
    expect(new Set(Object.values(ports).map(({ port }) => port)).size).toBe(3);
    expect(api.broker.isMetricsEnabled()).toBe(false);
  });
});
