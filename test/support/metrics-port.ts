import type { Server } from "node:http";
import type { AddressInfo } from "node:net";

import type { RunningNode } from "../../bootstrap/running-node.ts";
import { MetricsText } from "./metrics-text.ts";
import { RestClient, type RestResponse } from "./rest-client.ts";

/** The METRICS_PORT of a node, seen from outside. */
export interface MetricsPort {
  readonly url: string;
  /** As Prometheus names it: `127.0.0.1:9100`. */
  readonly address: string;
  readonly port: number;
  request(method: string, path: string): Promise<RestResponse>;
  scrape(): Promise<MetricsText>;
  /** The status of `/health/ready`, and what it says. */
  readiness(): Promise<{ status: number; body: Readonly<Record<string, unknown>> }>;
}

/** @param node started with a METRICS_PORT; 0 will do */
export function metricsPortOf({ broker }: RunningNode): MetricsPort {
  const { server } = broker.getLocalService("metrics") as unknown as { server: Server };
  const { port } = server.address() as AddressInfo;
  const address = `127.0.0.1:${port}`;
  const url = `http://${address}`;

  const request = async (method: string, path: string): Promise<RestResponse> => {
    // A connection for each request: one that stays open would hold up a node that stops.
    const client = new RestClient(url);
    try {
      return await client.request(method, path);
    } finally {
      client.close();
    }
  };
  return {
    url,
    address,
    port,
    request,
    scrape: async () => new MetricsText((await request("GET", "/metrics")).text),
    async readiness() {
      const { status, json } = await request("GET", "/health/ready");
      return { status, body: json as Record<string, unknown> };
    },
  };
}
