import type { ServiceBroker } from "moleculer";
import { call } from "../../lib/contracts.ts";
import type { DependencyMonitor, DependencyStatus } from "../../lib/dependency-monitor.ts";
import { healthOf, overallStatus, type HealthReport, type OverallStatus } from "../../lib/health.ts";

/** What `/health` answers. */
export interface Health {
  status: OverallStatus;
  dependencies: HealthReport;
}

/** Long enough for a busy node, short enough for readiness to be false within 3 s of a loss. */
const TIMEOUT_MS = 1000;

/** Asks the services behind the gateway, and looks at its own dependencies. */
export async function checkHealth(
  broker: ServiceBroker,
  monitors: ReadonlyMap<string, DependencyMonitor>,
): Promise<Health> {
  const startedAt = performance.now();
  let users: DependencyStatus = { status: "down", latencyMs: null };
  let theirs: HealthReport = {};
  try {
    theirs = await call(broker, "users.health", {}, { timeout: TIMEOUT_MS, retries: 0 });
    users = { status: "up", latencyMs: Math.round((performance.now() - startedAt) * 10) / 10 };
  } catch (error) {
    broker.logger.debug("users.health failed", error);
  }
  const dependencies = { users, ...theirs, ...healthOf(monitors) };
  return { status: overallStatus(dependencies), dependencies };
}
