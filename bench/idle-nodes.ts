import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import { startRollcall } from "../test/support/rollcall-process.ts";
import { watchUsage } from "./process-usage.ts";
import type { Servers } from "./servers.ts";

/** A node that has been started and has nothing to do. */
export interface IdleNode {
  services: string;
  hasMetrics: boolean;
  /** Until it says that it has started, which is when it is ready. */
  startMs: number;
  residentBytes: number;
}

const SERVICES = ["api", "users", "auth", "events", "images", "cache"];
const IDLE_MS = 3000;

/** Starts a node of each service, without and with metrics, one after the other. */
export async function measureIdleNodes(servers: Servers): Promise<IdleNode[]> {
  // As after an install, also when the source was changed since.
  await promisify(execFile)(process.execPath, [join(import.meta.dirname, "../bootstrap/compile.js")]);
  const measured: IdleNode[] = [];
  for (const services of SERVICES) {
    for (const hasMetrics of [false, true]) measured.push(await measureNode(servers, services, hasMetrics));
  }
  return measured;
}

async function measureNode(servers: Servers, services: string, hasMetrics: boolean): Promise<IdleNode> {
  const startedAt = performance.now();
  const node = await startRollcall({
    env: {
      DATABASE_URL: servers.databaseUrl,
      NATS_URL: servers.natsUrl,
      REDIS_URL: servers.redisUrl,
      SECRET: "a secret of the benchmark, 32 characters or more",
      AUTH_KEYS: "0".repeat(64),
      SERVICES: services,
      LOG_FORMAT: "json",
      NODE_ENV: "production",
      ...(hasMetrics && { METRICS_PORT: "0" }),
    },
  });
  const startMs = performance.now() - startedAt;
  await sleep(IDLE_MS);
  const { peakBytes: residentBytes } = watchUsage([node.pid])();
  await node.stop();
  return { services, hasMetrics, startMs, residentBytes };
}
