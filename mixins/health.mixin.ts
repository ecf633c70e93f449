import type { ServiceSchema } from "moleculer";
import type { DependencyMonitor } from "../lib/dependency-monitor.ts";
import { healthOf, type HealthReport } from "../lib/health.ts";

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
