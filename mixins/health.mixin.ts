import type { ServiceSchema } from "moleculer";
import type { DependencyMonitor, DependencyStatus } from "../lib/dependency-monitor.ts";

/** What a service's `health` action answers: the dependencies of the node it runs on, by name. */
export type HealthReport = Record<string, DependencyStatus>;

/** Gives a service the action `health`, with which the gateway learns of dependencies that are not its own. */
export function HealthMixin(monitors: ReadonlyMap<string, DependencyMonitor>): Partial<ServiceSchema> {
  return {
    actions: {
      health: {
        visibility: "public",
        params: { $$strict: true },
        handler: (): HealthReport => healthOf(monitors),
      },
    },
  };
}

export function healthOf(monitors: ReadonlyMap<string, DependencyMonitor>): HealthReport {
  return Object.fromEntries([...monitors].map(([name, { status }]) => [name, status]));
}
