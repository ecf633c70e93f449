import type { ServiceBroker } from "moleculer";

import { DependencyMonitor } from "../../lib/dependency-monitor.ts";
import { RedisLink } from "../../lib/redis-link.ts";
import { CachedValues } from "./cached-values.ts";
import { startRedis } from "./redis.ts";
import { silentLogger } from "./silent-logger.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { createTestBroker } from "./test-broker.ts";

/** A broker whose Redis may be late. Its own memory keeps next to nothing, so that Redis would have to answer. */
export interface RedisBehindProxy {
  readonly broker: ServiceBroker;
  /** What the broker caches. */
  readonly source: CachedValues;
  readonly link: RedisLink;
  readonly proxy: TcpProxy;
  /** The URL of Redis itself. */
  readonly redisUrl: string;
  stop(): Promise<void>;
}

/**
 * @param timeoutMs how long the broker waits for Redis
 * @param intervalMs how often it looks whether Redis is there; by default as often as a node
 */
export async function startRedisBehindProxy(
  timeoutMs: number,
  intervalMs?: number,
): Promise<RedisBehindProxy> {
  const redis = await startRedis();
  const proxy = await startTcpProxy(redis.url);
  const link = new RedisLink(proxy.url, { timeoutMs, log: silentLogger });
  const monitor = new DependencyMonitor({
    name: "redis",
    check: () => link.ping(),
    log: silentLogger,
    ...(intervalMs !== undefined && { intervalMs, timeoutMs }),
  });
  const settings = { REDIS_URL: proxy.url, CACHE_MAX_ENTRIES: "1" };
  const broker = createTestBroker(settings, undefined, undefined, link);
  const source = new CachedValues();
  source.fallback = { version: 1 };
  broker.createService(source.service());
  await monitor.start();
  await broker.start();
  return {
    broker,
    source,
    link,
    proxy,
    redisUrl: redis.url,
    async stop() {
      monitor.stop();
      await broker.stop();
      await proxy.stop();
      await redis.stop();
    },
  };
}
