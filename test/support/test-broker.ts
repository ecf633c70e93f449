import { ServiceBroker } from "moleculer";
import type { Logger } from "pino";

import type { NodeMetrics } from "../../broker/metrics.ts";
import { loadConfig, type Config } from "../../lib/config.ts";
import { DependencyMonitor } from "../../lib/dependency-monitor.ts";
import { RedisLink } from "../../lib/redis-link.ts";
import { brokerOptions } from "../../moleculer.config.ts";
import { silentLogger } from "./silent-logger.ts";

/**
 * A broker as every node has it, without the services of the product. The caller starts and stops it.
 *
 * @param settings variables over the defaults
 * @param ownRedis in place of a connection to REDIS_URL; the broker closes it when it stops
 */
export function createTestBroker(
  settings: Readonly<Record<string, string>> = {},
  log: Logger = silentLogger,
  metrics?: NodeMetrics,
  ownRedis?: RedisLink,
): ServiceBroker {
  const config = loadConfig({
    SECRET: "of no use here, but required with NATS_URL",
    SERVICES: "none",
    DRAIN_DELAY_MS: "0",
    LOG_LEVEL: log === silentLogger ? "silent" : "trace",
    ...settings,
  });
  const natsMonitor = new DependencyMonitor({ name: "nats", log, check: async () => undefined });
  const redis = ownRedis ?? redisLinkOf(config);
  return new ServiceBroker(brokerOptions({ config, log, natsMonitor, metrics, redis }));
}

function redisLinkOf({ REDIS_URL, REDIS_TIMEOUT_MS }: Config): RedisLink | undefined {
  return REDIS_URL === undefined
    ? undefined
    : new RedisLink(REDIS_URL, { timeoutMs: REDIS_TIMEOUT_MS, log: silentLogger });
}
