import { ServiceBroker } from "moleculer";
import type { Logger } from "pino";

import type { NodeMetrics } from "../../broker/metrics.ts";
import { loadConfig } from "../../lib/config.ts";
import { DependencyMonitor } from "../../lib/dependency-monitor.ts";
import { brokerOptions } from "../../moleculer.config.ts";
import { silentLogger } from "./silent-logger.ts";

/**
 * A broker as every node has it, without the services of the product. The caller starts and stops it.
 *
 * @param settings variables over the defaults
 */
export function createTestBroker(
  settings: Readonly<Record<string, string>> = {},
  log: Logger = silentLogger,
  metrics?: NodeMetrics,
): ServiceBroker {
  const config = loadConfig({
    SECRET: "of no use here, but required with NATS_URL",
    DRAIN_DELAY_MS: "0",
    LOG_LEVEL: log === silentLogger ? "silent" : "trace",
    ...settings,
  });
  const natsMonitor = new DependencyMonitor({ name: "nats", log, check: async () => undefined });
  return new ServiceBroker(brokerOptions({ config, log, natsMonitor, metrics }));
}
