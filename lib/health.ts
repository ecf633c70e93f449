import type { DependencyMonitor, DependencyStatus } from "./dependency-monitor.ts";

/** The dependencies of a node, by name. */
export type HealthReport = Record<string, DependencyStatus>;

/** `degraded`: slower, less fresh, or without images, logins and API keys, but whoever has a session is served. */
export type OverallStatus = "up" | "degraded" | "down";

/** Without these, reads get slower or go elsewhere, tokens are still verified, and all but images is served. */
const OPTIONAL = /^(?:redis|replica-\d+|auth|storage|images)$/;

export function healthOf(monitors: ReadonlyMap<string, DependencyMonitor>): HealthReport {
  return Object.fromEntries([...monitors].map(([name, { status }]) => [name, status]));
}

/** What several nodes say; of a dependency that they share, the worst. */
export function joinReports(reports: readonly HealthReport[]): HealthReport {
  const joined: HealthReport = {};
  for (const [name, status] of reports.flatMap((report) => Object.entries(report))) {
    if (joined[name]?.status !== "down") joined[name] = status;
  }
  return joined;
}

export function overallStatus(report: HealthReport): OverallStatus {
  const down = Object.entries(report).filter(([, { status }]) => status === "down");
  if (down.length === 0) return "up";
  return down.every(([name]) => OPTIONAL.test(name)) ? "degraded" : "down";
}
