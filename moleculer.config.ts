import type { BrokerOptions } from "moleculer";
import type { Logger } from "pino";
import { authorizationMiddleware } from "./broker/authorization.middleware.ts";
import { brokerLogger, type LogBindings } from "./broker/broker-logger.ts";
import { createCacher } from "./broker/cache/create-cacher.ts";
import { circuitBreakerOptions, circuitBreakerProbeMiddleware } from "./broker/circuit-breaker.ts";
import { idempotencyKeyMiddleware } from "./broker/idempotency-key.middleware.ts";
import { jsonTextMiddleware, JsonTextSerializer } from "./broker/json-text.ts";
import type { NodeMetrics } from "./broker/metrics.ts";
import { natsBatchMiddleware } from "./broker/nats-batch.middleware.ts";
import { natsLinkMiddleware } from "./broker/nats-link.ts";
import { NatsTransporter } from "./broker/nats-transporter.ts";
import { nodeRestartMiddleware } from "./broker/node-restart.middleware.ts";
import { packetLimitMiddleware } from "./broker/packet-limit.middleware.ts";
import { requestLogMiddleware } from "./broker/request-log.middleware.ts";
import { Validator } from "./broker/validator.ts";
import type { Config } from "./lib/config.ts";
import type { DependencyMonitor } from "./lib/dependency-monitor.ts";
import type { RedisLink } from "./lib/redis-link.ts";

/** What the broker is made from. */
export interface BrokerParts {
  config: Config;
  log: Logger;
  natsMonitor: DependencyMonitor;
  metrics?: NodeMetrics | undefined;
  /** Without it the cache is in memory only. The broker closes it when it stops. */
  redis?: RedisLink | undefined;
}

/** The broker of a node. Everything that is not Moleculer's default has its reason here. */
export function brokerOptions({ config, log, natsMonitor, metrics, redis }: BrokerParts): BrokerOptions {
  const cacher = createCacher(config, redis, log);
  return {
    namespace: "rollcall",
    nodeID: config.NODE_ID,

    logger: {
      type: "Pino",
      options: { createLogger: (level: string, of: LogBindings) => brokerLogger(log, level, of) },
    },
    logLevel: config.LOG_LEVEL === "silent" ? "fatal" : config.LOG_LEVEL,

    transporter: config.NATS_URL ? natsTransporter(config.NATS_URL, config.NODE_ID, natsMonitor) : null,
    serializer: new JsonTextSerializer(),
    cacher,
    stopped: () => redis?.close(),
    validator: new Validator(),

    // Without it a call to a node that has died waits for ever.
    requestTimeout: config.REQUEST_TIMEOUT_MS,
    // A dead node is out of the registry 4 to 7 s after its last heartbeat, as the timeout is also the interval at
    // which Moleculer looks, and its calls go elsewhere before their second timeout. A node that is busy for 2 s stays.
    heartbeatInterval: 1,
    heartbeatTimeout: 3,
    // On for every action, writes too: each of those runs under an idempotency key, at most once. Short, because a
    // client waits; the second attempt goes to another node, the third is past a hand-over.
    retryPolicy: {
      enabled: true,
      retries: 2,
      delay: 100,
      factor: 3,
      maxDelay: 1000,
      check: (error: Error) => (error as { retryable?: boolean }).retryable === true,
    },
    circuitBreaker: circuitBreakerOptions,
    // Bounds the work a node takes on: what is beyond it is refused at once, not queued until its caller has left.
    bulkhead: { enabled: true, concurrency: 200, maxQueueSize: 2000 },
    // A stopping node finishes the calls it has; the delay lets others, if there are, learn that it takes no more.
    tracking: { enabled: true, shutdownTimeout: config.STOP_DEADLINE_MS - config.DRAIN_DELAY_MS },
    registry: { stopDelay: config.NATS_URL ? config.DRAIN_DELAY_MS : 0 },

    // How soon the gateway sees that the services of its own node are up.
    dependencyInterval: 50,
    // Our own metrics and no tracing: Moleculer's cost 40 % of the gateway's throughput.
    metrics: false,
    tracing: false,
    // Signals are handled by our own ordered stop.
    skipProcessEventRegistration: true,
    // Ours stand among Moleculer's, so the order is written out, from the handler of an action outwards.
    internalMiddlewares: false,
    middlewares: [
      "ActionHook",
      "Validator",
      "Bulkhead",
      "Cacher",
      // Outside the cache, which keeps results, not their text.
      jsonTextMiddleware,
      "CircuitBreaker",
      circuitBreakerProbeMiddleware,
      // Outside the circuit breaker: a lost connection says nothing of the endpoint that was called.
      natsLinkMiddleware(natsMonitor),
      "Timeout",
      // Outside the timeout: inside, a call that timed out would be tracked for ever, and a stop would wait for it.
      "ContextTracker",
      // Outside of what a call to another node takes, none of which an answer from the memory needs.
      cacher.nearMiddleware(),
      // Outside the caches: a hit would be answered before anyone asked who wants it.
      authorizationMiddleware(config),
      idempotencyKeyMiddleware,
      requestLogMiddleware,
      ...(metrics ? [metrics.middleware()] : []),
      // An attempt is a call of its own, through everything in this list.
      "Retry",
      "ErrorHandler",
      packetLimitMiddleware,
      nodeRestartMiddleware,
      natsBatchMiddleware,
    ],
  };
}

function natsTransporter(servers: string[], nodeId: string, monitor: DependencyMonitor): NatsTransporter {
  const urls = servers.map((server) => new URL(server));
  const { username = "", password = "" } = urls.find((url) => url.username !== "") ?? {};
  return new NatsTransporter(
    {
      servers: urls.map(({ host }) => host),
      // Names are looked up as the system does. The client itself asks DNS only, for 28 s when that is silent, and knows
      // neither the hosts file nor the search domains that make `nats` a name in Kubernetes.
      resolve: false,
      name: `rollcall ${nodeId}`,
      ...(username && { user: decodeURIComponent(username), pass: decodeURIComponent(password) }),
      ...(urls.some(({ protocol }) => protocol === "tls:") && { tls: {} }),
      // For ever and often: a node that has lost NATS is of no use until it has it back.
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      // A server that takes the connection and then is silent, or ends, would hold an attempt for 20 s.
      timeout: 2000,
      // A connection that is open but silent is given up after two unanswered pings.
      pingInterval: 1000,
      maxPingOut: 2,
    },
    monitor,
  );
}
