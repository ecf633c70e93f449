import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";

import { StartupError } from "../../lib/startup-error.ts";
import { metricsPortOf } from "../support/metrics-port.ts";
import { freePort } from "../support/ports.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const NOTICED_MS = 3_000;
/** A server that says nothing is given 2 s before it counts as lost. */
const SILENCE_NOTICED_MS = 6_000;

let nodes: TestNodes;

beforeEach(async () => {
  nodes = await startTestNodes();
});

afterEach(() => nodes.stop());

async function untilReadiness(
  port: ReturnType<typeof metricsPortOf>,
  status: number,
  timeoutMs: number,
): Promise<void> {
  await waitFor(async () => (await port.readiness()).status === status, {
    description: `readiness to be ${status}`,
    timeoutMs,
  });
}

describe("the probes of a node", () => {
  test("are positive when it has what it needs", async () => {
    const port = metricsPortOf(await nodes.start({ SERVICES: "users", METRICS_PORT: "0" }));

    expect(await port.readiness()).toMatchObject({
      status: 200,
      body: { status: "up", dependencies: { postgresql: { status: "up" }, nats: { status: "up" } } },
    });
    expect((await port.request("GET", "/health/live")).status).toBe(200);
  });

  test("say within 3 s that PostgreSQL is away and back; the node lives on and is scraped", async () => {
    const proxy = await startTcpProxy(nodes.databaseUrl);
    const port = metricsPortOf(
      await nodes.start({ SERVICES: "users", METRICS_PORT: "0", DATABASE_URL: proxy.url }),
    );

    await proxy.cut();
    await untilReadiness(port, 503, NOTICED_MS);
    expect((await port.readiness()).body).toMatchObject({
      status: "down",
      dependencies: { postgresql: { status: "down", latencyMs: null }, nats: { status: "up" } },
    });
    expect((await port.request("GET", "/health/live")).status).toBe(200);
    expect((await port.request("GET", "/metrics")).status).toBe(200);

    await proxy.mend();
    await untilReadiness(port, 200, NOTICED_MS);
    await proxy.stop();
  });

  test.each([
    ["killed", NOTICED_MS],
    ["frozen", SILENCE_NOTICED_MS],
  ])(
    "say that NATS was %s within %i ms, and is back; the node lives on and is scraped",
    async (fault, noticedMs) => {
      const port = metricsPortOf(await nodes.start({ SERVICES: "users", METRICS_PORT: "0" }));

      if (fault === "killed") await nodes.nats.kill();
      else nodes.nats.freeze();
      await untilReadiness(port, 503, noticedMs);
      expect((await port.readiness()).body).toMatchObject({
        status: "down",
        dependencies: { postgresql: { status: "up" }, nats: { status: "down" } },
      });
      expect((await port.request("GET", "/health/live")).status).toBe(200);
      expect((await port.scrape()).value("moleculer_nodes_total")).toBeGreaterThanOrEqual(1);

      await nodes.nats.restart();
      await untilReadiness(port, 200, 5_000);
    },
  );

  test("say that the node is about to stop while it still answers, and then nothing", async () => {
    const node = await nodes.start({ SERVICES: "users", METRICS_PORT: "0", DRAIN_DELAY_MS: "3000" });
    const port = metricsPortOf(node);

    const stopped = node.stop();
    expect(await port.readiness()).toMatchObject({ status: 503, body: { status: "draining" } });
    expect((await port.request("GET", "/health/live")).status).toBe(200);
    expect((await port.scrape()).value("moleculer_nodes_total")).toBe(1);
    await stopped;

    await expect(port.request("GET", "/health/live")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });
});

describe("a METRICS_PORT that is in use", () => {
  test("keeps the node from starting, with an error that names it, and nothing is left running", async () => {
    const occupant = createServer().listen(0, "127.0.0.1");
    await once(occupant, "listening");
    const { port: taken } = occupant.address() as AddressInfo;
    const gatewayPort = await freePort();

    const starting = nodes.start({
      SERVICES: "users,api",
      METRICS_PORT: String(taken),
      PORT: String(gatewayPort),
    });
    await expect(starting).rejects.toBeInstanceOf(StartupError);
    await expect(starting).rejects.toMatchObject({
      message: expect.stringContaining(`METRICS_PORT ${taken} on 127.0.0.1 is already in use`),
      exitCode: 1,
    });

    const gateway = createServer().listen(gatewayPort, "127.0.0.1");
    await once(gateway, "listening");
    for (const server of [gateway, occupant]) {
      server.close();
      await once(server, "close");
    }
  });
});
