import { ServiceBroker, type ServiceSchema } from "moleculer";
import type { Logger } from "pino";
import { FailOpenRedisCacher } from "../broker/cache.ts";
import type { NodeMetrics } from "../broker/metrics.ts";
import { natsConnectionOf } from "../broker/nats-link.ts";
import type { Config, ServiceName } from "../lib/config.ts";
import type { Database } from "../lib/database.ts";
import { DependencyMonitor } from "../lib/dependency-monitor.ts";
import { StartupError } from "../lib/startup-error.ts";
import { brokerOptions } from "../moleculer.config.ts";
import type { Node } from "./node.ts";
import { readOrCreateSecret } from "./secret.ts";

interface ServiceEntry {
  usesDatabase: boolean;
  /** A node loads only the code of the services that it runs: a gateway needs no database driver in its memory. */
  load(): Promise<(node: Node) => object>;
}

const SERVICES: Readonly<Record<ServiceName, ServiceEntry>> = {
  users: {
    usesDatabase: true,
    load: async () => (await import("../services/users/users.service.ts")).createUsersService,
  },
  api: {
    usesDatabase: false,
    load: async () => (await import("../services/api/api.service.ts")).createApiService,
  },
};

/** A node that is up. */
export interface RunningNode {
  readonly broker: ServiceBroker;
  /** Ordered stop: the gateway, then the other services, then connections, then embedded servers. */
  stop(): Promise<void>;
}

/** What has been started so far, each with the way to stop it; stopped in the opposite order. */
class StopStack {
  isStopping = false;
  #stops: (() => Promise<void>)[] = [];

  push(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  async stop(log: Logger): Promise<void> {
    this.isStopping = true;
    for (const stop of this.#stops.splice(0).toReversed()) {
      // One part that cannot stop must not keep the others running.
      await stop().catch((error: unknown) => log.error({ err: error }, "a part of the node did not stop"));
    }
  }
}

/**
 * Starts a node: the embedded database if there is no other, migrations for it, connections, services.
 *
 * @throws StartupError when something the operator can mend is wrong; then everything begun is stopped again
 */
export async function startNode(config: Config, log: Logger): Promise<RunningNode> {
  const stack = new StopStack();
  const deadline = Promise.withResolvers<never>();
  const timer = setTimeout(() => deadline.reject(new DeadlineExceeded()), config.START_DEADLINE_MS);
  const monitors = new Map<string, DependencyMonitor>();
  try {
    const broker = await Promise.race([start(config, log, stack, monitors), deadline.promise]);
    log.info({ services: config.SERVICES }, "node started");
    return { broker, stop: () => stack.stop(log) };
  } catch (error) {
    await stack.stop(log);
    throw error instanceof DeadlineExceeded ? deadlineError(config, monitors) : error;
  } finally {
    clearTimeout(timer);
  }
}

class DeadlineExceeded extends Error {}

function deadlineError(config: Config, monitors: ReadonlyMap<string, DependencyMonitor>): StartupError {
  const missing = [...monitors.values()].filter(({ isUp }) => !isUp).map(({ name }) => name);
  const reason = missing.length > 0 ? `no connection to ${missing.join(", ")}` : "a service is not ready";
  return new StartupError(`The node was not ready within ${config.START_DEADLINE_MS} ms: ${reason}.`);
}

async function start(
  config: Config,
  log: Logger,
  stack: StopStack,
  monitors: Map<string, DependencyMonitor>,
): Promise<ServiceBroker> {
  const services = config.SERVICES.map((name) => SERVICES[name]);
  const database = services.some(({ usesDatabase }) => usesDatabase)
    ? await startDatabase(config, log, stack, monitors)
    : undefined;
  const secret = config.SECRET ?? (await readOrCreateSecret(config.DATA_DIR));

  const { METRICS_PORT } = config;
  const metrics = METRICS_PORT === undefined ? undefined : await createMetrics(config.NODE_ID, database);
  const node: Node = {
    config,
    log,
    secret,
    monitors,
    metrics,
    isStopping: () => stack.isStopping,
    get database() {
      if (!database) throw new Error("No service of this node is declared to use the database.");
      return database;
    },
  };
  return startBroker(node, stack, monitors);
}

async function startDatabase(
  config: Config,
  log: Logger,
  stack: StopStack,
  monitors: Map<string, DependencyMonitor>,
): Promise<Database> {
  const { Database } = await import("../lib/database.ts");
  const { migrate, requireMigrated } = await import("./migrate.ts");
  let url = config.DATABASE_URL;
  if (!url) {
    const { startEmbeddedPostgres } = await import("./embedded-postgres.ts");
    const server = await startEmbeddedPostgres({ dataDir: config.DATA_DIR, log });
    stack.push(() => server.stop());
    url = server.url;
    await migrate(url, log);
  }

  const database = new Database({ ...config, DATABASE_URL: url }, log);
  stack.push(() => database.close());
  for (const monitor of database.monitors) monitors.set(monitor.name, monitor);
  await database.start();
  if (config.DATABASE_URL) await requireMigrated(url);
  return database;
}

async function createMetrics(nodeId: string, database: Database | undefined): Promise<NodeMetrics> {
  const { NodeMetrics } = await import("../broker/metrics.ts");
  const metrics = new NodeMetrics(nodeId);
  if (database) metrics.watchPools(() => database.poolUsage());
  return metrics;
}

async function startBroker(
  node: Node,
  stack: StopStack,
  monitors: Map<string, DependencyMonitor>,
): Promise<ServiceBroker> {
  const { config, log, metrics } = node;
  const natsMonitor: DependencyMonitor = new DependencyMonitor({
    name: "nats",
    log,
    check: async () => {
      const connection = natsConnectionOf(broker);
      if (!connection) throw new Error("not connected yet");
      await connection.flush();
    },
  });
  const broker = new ServiceBroker(brokerOptions({ config, log, natsMonitor, metrics }));
  const { cacher } = broker;
  const redisMonitor =
    cacher instanceof FailOpenRedisCacher
      ? new DependencyMonitor({ name: "redis", log, check: () => cacher.ping() })
      : undefined;
  for (const monitor of [config.NATS_URL && natsMonitor, redisMonitor]) {
    if (!monitor) continue;
    monitors.set(monitor.name, monitor);
    stack.push(async () => monitor.stop());
  }

  for (const name of config.SERVICES) {
    const createSchema = await SERVICES[name].load();
    broker.createService(createSchema(node) as ServiceSchema);
  }
  if (metrics && config.METRICS_PORT !== undefined) {
    const { createMetricsService } = await import("../services/metrics/metrics.service.ts");
    broker.createService(createMetricsService(node, metrics, config.METRICS_PORT) as ServiceSchema);
  }
  stack.push(() => broker.stop());
  await broker.start();
  if (config.NATS_URL) await natsMonitor.start();
  await redisMonitor?.start();

  // The gateway stops before the services that its last requests need.
  const api = broker.getLocalService("api");
  if (api) stack.push(() => broker.destroyService(api));
  return broker;
}
