import { setTimeout as sleep } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Errors, type ServiceBroker } from "moleculer";

import { appError } from "../../../broker/errors.ts";
import { NodeMetrics } from "../../../broker/metrics.ts";
import { REST_ROUTES } from "../../../services/api/routes.ts";
import { MetricsText } from "../../support/metrics-text.ts";
import { createTestBroker } from "../../support/test-broker.ts";

const NODE = "node-1";
const SLEEP_MS = 30;

let metrics: NodeMetrics;
const shown = async (): Promise<MetricsText> => new MetricsText(await metrics.registry.metrics());

beforeEach(() => {
  metrics = new NodeMetrics(NODE);
});

describe("calls of actions", () => {
  let broker: ServiceBroker;

  beforeEach(async () => {
    broker = createTestBroker({ NODE_ID: NODE }, undefined, metrics);
    let attempts = 0;
    broker.createService({
      name: "work",
      actions: {
        done: () => "done",
        slow: () => sleep(SLEEP_MS),
        cached: { cache: true, handler: () => "cached" },
        refused: () => Promise.reject(appError("USER_NOT_FOUND")),
        broken: () => Promise.reject(new TypeError("a defect")),
        checked: { params: { id: { type: "uuid" } }, handler: () => "checked" },
        second: () => {
          attempts += 1;
          if (attempts === 1) throw new Errors.MoleculerRetryableError("once more", 503, "BUSY");
          return "done";
        },
        hidden: { visibility: "private", handler: () => "hidden" },
        calls: (ctx) => (ctx.service as unknown as { actions: { hidden(): unknown } }).actions.hidden(),
      },
    });
    broker.createService({ name: "work", version: 2, actions: { done: () => "done" } });
    await broker.start();
  });

  afterEach(() => broker.stop());

  const labelsOf = (action: string) => ({ action: `work.${action}`, service: "work", nodeID: NODE });
  const requests = async (action: string) => (await shown()).value("moleculer_req_total", labelsOf(action));
  const errors = async () => (await shown()).all("moleculer_req_errors_total");

  test("are counted by action, service and node", async () => {
    for (let call = 0; call < 3; call += 1) await broker.call("work.done");

    expect(await requests("done")).toBe(3);
    const text = await shown();
    expect(text.value("moleculer_req_duration_ms_count", labelsOf("done"))).toBe(3);
    expect(await errors()).toEqual([]);
  });

  test("are counted by the version of their service", async () => {
    await broker.call("v2.work.done");

    const labels = { action: "v2.work.done", service: "v2.work", nodeID: NODE };
    expect((await shown()).value("moleculer_req_total", labels)).toBe(1);
    expect(await requests("done")).toBe(0);
  });

  test("are shown as zero before the first one", async () => {
    expect(await requests("done")).toBe(0);
    expect((await shown()).value("moleculer_req_duration_ms_count", labelsOf("done"))).toBe(0);
  });

  test("are counted before they come back when they come together", async () => {
    await Promise.all(Array.from({ length: 50 }, () => broker.call("work.slow")));

    expect(await requests("slow")).toBe(50);
  });

  test("are measured in milliseconds", async () => {
    await broker.call("work.slow");

    const text = await shown();
    const bucket = (le: string) =>
      text.value("moleculer_req_duration_ms_bucket", { ...labelsOf("slow"), le });
    expect(text.value("moleculer_req_duration_ms_sum", labelsOf("slow"))).toBeGreaterThan(SLEEP_MS - 2);
    expect([bucket("10"), bucket("5000")]).toEqual([0, 1]);
  });

  test("are counted when the cache answers them", async () => {
    for (let call = 0; call < 3; call += 1) await broker.call("work.cached");

    expect(await requests("cached")).toBe(3);
  });

  test("that fail are counted among all, and by code, name and type of the error, which the caller gets", async () => {
    await expect(broker.call("work.refused")).rejects.toMatchObject({ type: "USER_NOT_FOUND" });
    await expect(broker.call("work.refused")).rejects.toMatchObject({ type: "USER_NOT_FOUND" });

    expect(await requests("refused")).toBe(2);
    const error = { errorCode: "404", errorName: "MoleculerError", errorType: "USER_NOT_FOUND" };
    expect(await errors()).toMatchObject([{ labels: { ...labelsOf("refused"), ...error }, value: 2 }]);
    expect((await shown()).value("moleculer_req_duration_ms_count", labelsOf("refused"))).toBe(2);
  });

  test.each([
    ["broken", { errorCode: "", errorName: "TypeError", errorType: "" }],
    ["checked", { errorCode: "422", errorName: "ValidationError", errorType: "VALIDATION_ERROR" }],
  ])("that fail with an error of others are counted too: %s", async (action, labels) => {
    await expect(broker.call(`work.${action}`, { id: "x" })).rejects.toMatchObject({
      name: labels.errorName,
    });

    expect(await errors()).toMatchObject([{ labels: { ...labelsOf(action), ...labels }, value: 1 }]);
  });

  test("are counted for each attempt", async () => {
    await expect(broker.call("work.second")).resolves.toBe("done");

    expect(await requests("second")).toBe(2);
    expect(await errors()).toMatchObject([{ labels: { errorType: "BUSY" }, value: 1 }]);
  });

  test("are left out when the action is private or Moleculer's own", async () => {
    await broker.call("work.calls");
    await broker.call("$node.list");

    expect(await requests("calls")).toBe(1);
    const { text } = await shown();
    expect(text).not.toMatch(/hidden|\$node/);
  });

  test("are not also counted by Moleculer's own metrics", () => {
    expect(broker.isMetricsEnabled()).toBe(false);
    expect(broker.isTracingEnabled()).toBe(false);
  });
});

describe("HTTP requests", () => {
  const labels = { method: "GET", route: "/api/v1/users/:id", status: 200 };
  const shownLabels = { ...labels, status: "200" };
  const { status: _status, ...measured } = labels;

  test("are counted by method, route and status, and measured by method and route", async () => {
    metrics.http.observe(labels, 0.002);
    metrics.http.observe(labels, 0.002);
    metrics.http.observe({ ...labels, status: 404 }, 0.002);

    const text = await shown();
    expect(text.value("http_requests_total", shownLabels)).toBe(2);
    expect(text.value("http_requests_total", { ...shownLabels, status: "404" })).toBe(1);
    expect(text.value("http_request_duration_seconds_count", measured)).toBe(3);
  });

  test("are measured in seconds", async () => {
    metrics.http.observe(labels, 0.03);

    const text = await shown();
    const bucket = (le: string) => text.value("http_request_duration_seconds_bucket", { ...measured, le });
    expect(text.value("http_request_duration_seconds_sum", measured)).toBeCloseTo(0.03);
    expect([bucket("0.025"), bucket("0.05"), bucket("+Inf")]).toEqual([0, 1, 1]);
  });

  test("with methods that the API does not have are one", async () => {
    for (const method of ["PROPFIND", "M-SEARCH", "LINK"]) {
      metrics.http.observe({ method, route: "unmatched", status: 405 }, 0.001);
    }

    expect((await shown()).all("http_requests_total")).toMatchObject([
      { labels: { method: "other" }, value: 3 },
    ]);
  });
});

describe("pools of database connections", () => {
  test("are looked at when they are asked for", async () => {
    const primary = { server: "primary", inUse: 1, idle: 2, waiting: 0 };
    const replica = { server: "replica-1", inUse: 0, idle: 0, waiting: 0 };
    metrics.watchPools(() => [primary, replica]);
    await shown();
    Object.assign(primary, { inUse: 3, idle: 0, waiting: 7 });

    const text = await shown();
    const connections = (server: string, state: string) =>
      text.value("database_pool_connections", { server, state });
    expect([connections("primary", "in_use"), connections("primary", "idle")]).toEqual([3, 0]);
    expect([connections("replica-1", "in_use"), connections("replica-1", "idle")]).toEqual([0, 0]);
    expect(text.value("database_pool_waiting_requests", { server: "primary" })).toBe(7);
  });
});

describe("what Prometheus reads", () => {
  test("stays below 200 KB after 100,000 requests over all routes with all that commonly comes of them", async () => {
    const statuses = [400, 404, 406, 503];
    const kinds = REST_ROUTES.flatMap(({ method, path, status }) =>
      [status, ...statuses].map((each) => ({ method, route: path, status: each })),
    );
    for (let request = 0; request < 100_000; request += 1) {
      metrics.http.observe(kinds[request % kinds.length] as (typeof kinds)[number], (request % 100) / 1000);
    }
    const actions = [...new Set(REST_ROUTES.map(({ action }) => action))];
    const broker = createTestBroker({ NODE_ID: NODE }, undefined, metrics);
    const fail = () => Promise.reject(appError("USER_NOT_FOUND"));
    for (const service of new Set(actions.map((action) => action.split(".")[0] ?? ""))) {
      const own = actions.filter((action) => action.startsWith(`${service}.`));
      broker.createService({
        name: service,
        actions: Object.fromEntries(own.map((action) => [action.slice(service.length + 1), fail])),
      });
    }
    await broker.start();
    await Promise.allSettled(actions.map((action) => broker.call(action)));
    await broker.stop();

    const text = await shown();
    const total = text.all("http_requests_total").reduce((sum, { value }) => sum + value, 0);
    expect(total).toBe(100_000);
    expect(Buffer.byteLength(text.text)).toBeLessThanOrEqual(200_000);
  });
});
