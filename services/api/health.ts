import type { ServiceBroker } from "moleculer";
import { call } from "../../lib/contracts.ts";
import type { DependencyMonitor, DependencyStatus } from "../../lib/dependency-monitor.ts";
import {
  healthOf,
  joinReports,
  overallStatus,
  type HealthReport,
  type OverallStatus,
} from "../../lib/health.ts";

/** What `/health` answers. */
export interface Health {
  status: OverallStatus;
  dependencies: HealthReport;
}

/** Long enough for a busy node, short enough for readiness to be false within 3 s of a loss. */
const TIMEOUT_MS = 1000;

/**
 * Asks the services behind the gateway, and looks at its own dependencies.
 *
 * @param verifier a gateway that has never heard of the auth service can let nobody in
 */
export async function checkHealth(
  broker: ServiceBroker,
  monitors: ReadonlyMap<string, DependencyMonitor>,
  verifier: { readonly isReady: boolean },
): Promise<Health> {
  const services = await Promise.all([checkService(broker, "users"), checkService(broker, "auth")]);
  const dependencies = joinReports([...services, healthOf(monitors)]);
  return { status: verifier.isReady ? overallStatus(dependencies) : "down", dependencies };
}

/** The status of a service, and what one of its nodes says of its own dependencies. */
async function checkService(broker: ServiceBroker, name: "users" | "auth"): Promise<HealthReport> {
  const startedAt = performance.now();
  const down: HealthReport = { [name]: { status: "down", latencyMs: null } };
  // Looked up first: the broker logs every call of an action that is nowhere.
  if (!broker.registry.actions.isAvailable(`${name}.health`)) return down;
  try {
    const theirs = await call(broker, `${name}.health`, {}, { timeout: TIMEOUT_MS, retries: 0 });
    const latencyMs = Math.round((performance.now() - startedAt) * 10) / 10;
    const status: DependencyStatus = { status: "up", latencyMs };
    return { ...theirs, [name]: status };
  } catch (error) {
    broker.logger.debug(`${name}.health failed`, error);
    return down;
  }
}
