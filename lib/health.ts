import type { DependencyMonitor, DependencyStatus } from "./dependency-monitor.ts";

/** The dependencies of a node, by name. */
export type HealthReport = Record<string, DependencyStatus>;

/** `degraded`: slower or less fresh, but every request is served. */
export type OverallStatus = "up" | "degraded" | "down";

/** Without these, reads get slower or go elsewhere, but none fails. */
const OPTIONAL = /^(?:redis|replica-\d+)$/;

export function healthOf(monitors: ReadonlyMap<string, DependencyMonitor>): HealthReport {
  return Object.fromEntries([...monitors].map(([name, { status }]) => [name, status]));
}

export function overallStatus(report: HealthReport): OverallStatus {
  const down = Object.entries(report).filter(([, { status }]) => status === "down");
  if (down.length === 0) return "up";
  return down.every(([name]) => OPTIONAL.test(name)) ? "degraded" : "down";
}
