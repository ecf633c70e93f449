import { ServiceBroker, type ServiceSchema } from "moleculer";
import type { Logger } from "pino";
import { Cacher } from "../broker/cache/cacher.ts";
import type { NodeMetrics } from "../broker/metrics.ts";
import { natsConnectionOf } from "../broker/nats-link.ts";
import type { Config, ServiceName } from "../lib/config.ts";
import type { Database } from "../lib/database.ts";
import { DependencyMonitor } from "../lib/dependency-monitor.ts";
import { RedisLink } from "../lib/redis-link.ts";
import { StartupError } from "../lib/startup-error.ts";
import type { Storage } from "../lib/storage/storage.ts";
import { brokerOptions } from "../moleculer.config.ts";
import { createCacheNodeService } from "../services/cache/cache-node.service.ts";
import type { Node } from "./node.ts";
import { readOrCreateSecret } from "./secret.ts";
import { StopStack } from "./stop-stack.ts";

/** Makes the schema of a service for a node. */
export type ServiceFactory = (node: Node) => object;

interface ServiceEntry {
  usesDatabase: boolean;
  usesStorage?: boolean;
  /** A node loads only the code of the services that it runs: a gateway needs no database driver in its memory. */
  load(): Promise<ServiceFactory>;
}

const SERVICES: Readonly<Record<ServiceName, ServiceEntry>> = {
  users: {
    usesDatabase: true,
    load: async () => (await import("../services/users/users.service.ts")).createUsersService,
  },
  auth: {
    usesDatabase: true,
    load: async () => (await import("../services/auth/auth.service.ts")).createAuthService,
  },
  events: {
    usesDatabase: true,
    load: async () => (await import("../services/events/events.service.ts")).createEventsService,
  },
  images: {
    usesDatabase: true,
    usesStorage: true,
    load: async () => (await import("../services/images/images.service.ts")).createImagesService,
  },
  cache: {
    usesDatabase: false,
    load: async () => (await import("../services/cache/cache.service.ts")).createCacheService,
  },
  api: {
    usesDatabase: false,
    usesStorage: true,
    load: async () => (await import("../services/api/api.service.ts")).createApiService,
  },
};

/** A node that is up. */
export interface RunningNode {
  readonly broker: ServiceBroker;
  /** Ordered stop: the gateway, then the other services, then connections, then embedded servers. */
  stop(): Promise<void>;
}

/** A start in progress. */
interface Startup {
  config: Config;
  log: Logger;
  siblings: readonly ServiceFactory[];
  stack: StopStack;
  /** What the node depends on, as far as it is known yet. */
  monitors: Map<string, DependencyMonitor>;
}

interface StartOptions {
  interrupt?: AbortSignal;
  siblings?: readonly ServiceFactory[];
}

/**
 * Starts a node: the embedded database if there is no other, migrations for it, connections, services.
 *
 * @param options `interrupt` aborts the start; `siblings` are services that are not Rollcall's own
 * @throws StartupError when something the operator can mend is wrong, or the reason of the interrupt; then everything
 *   begun is stopped again
 */
export async function startNode(
  config: Config,
  log: Logger,
  { interrupt = new AbortController().signal, siblings = [] }: StartOptions = {},
): Promise<RunningNode> {
  const stack = new StopStack();
  const startup: Startup = { config, log, siblings, stack, monitors: new Map() };
  try {
    // Outside the deadline of the node: the recovery of a database after a crash may take longer, and has its own.
    const databaseUrl = config.DATABASE_URL ?? (await startOwnPostgres(startup));
    const broker = await startInTime(startup, databaseUrl, interrupt);
    log.info({ services: config.SERVICES }, "node started");
    return { broker, stop: () => stack.stop(log) };
  } catch (error) {
    await stack.stop(log);
    throw error;
  }
}

/**
 * Starts and migrates the PostgreSQL of a node that is given none, if its services need one.
 *
 * @returns its URL
 */
async function startOwnPostgres(startup: Startup): Promise<string | undefined> {
  const { config, log, stack } = startup;
  if (!usesDatabase(startup)) return undefined;
  const { startEmbeddedPostgres } = await import("./embedded-postgres.ts");
  const { migrate } = await import("./migrate.ts");
  const server = await startEmbeddedPostgres({ dataDir: config.DATA_DIR, log });
  stack.push(() => server.stop());
  await migrate(server.url, log);
  return server.url;
}

async function startInTime(
  startup: Startup,
  databaseUrl: string | undefined,
  interrupt: AbortSignal,
): Promise<ServiceBroker> {
  const deadline = new AbortController();
  // It also keeps the process alive while nothing else does, as when it waits for a server that refuses connections.
  const timer = setTimeout(() => deadline.abort(), startup.config.START_DEADLINE_MS);
  try {
    return await unlessAborted(AbortSignal.any([interrupt, deadline.signal]), () =>
      start(startup, databaseUrl),
    );
  } catch (error) {
    throw error === deadline.signal.reason ? deadlineError(startup) : error;
  } finally {
    clearTimeout(timer);
  }
}

/** @throws the reason of the signal as soon as it is aborted, whatever becomes of the work */
async function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([work(), aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function deadlineError({ config, monitors }: Startup): StartupError {
  const missing = [...monitors.values()].filter(({ isUp }) => !isUp);
  const problems = missing.map(({ name, problem }) => `no connection to ${name} (${problem})`);
  const reason = problems.length > 0 ? problems.join(", ") : "a service is not ready";
  return new StartupError(`The node was not ready within ${config.START_DEADLINE_MS} ms: ${reason}.`);
}

async function start(startup: Startup, databaseUrl: string | undefined): Promise<ServiceBroker> {
  const { config, log, stack, monitors } = startup;
  const database =
    databaseUrl !== undefined && usesDatabase(startup)
      ? await connectDatabase(startup, databaseUrl)
      : undefined;
  const secret = config.SECRET ?? (await readOrCreateSecret(config.DATA_DIR, "secret"));
  const authKeys = config.SERVICES.includes("auth") ? await readAuthKeys(config) : [];
  const storage = config.SERVICES.some((name) => SERVICES[name].usesStorage)
    ? await openStorage(startup)
    : undefined;

  const { METRICS_PORT } = config;
  const metrics = METRICS_PORT === undefined ? undefined : await createMetrics(config.NODE_ID, database);
  const node: Node = {
    config,
    log,
    secret,
    authKeys,
    monitors,
    metrics,
    redis: config.REDIS_URL
      ? new RedisLink(config.REDIS_URL, { timeoutMs: config.REDIS_TIMEOUT_MS, log })
      : undefined,
    isStopping: () => stack.isStopping,
    get database() {
      if (!database) throw new Error("No service of this node is declared to use the database.");
      return database;
    },
    get storage() {
      if (!storage) throw new Error("No service of this node is declared to use the storage.");
      return storage;
    },
  };
  return startBroker(startup, node);
}

/** Those of the file are written as in the setting: a second one, for a rotation, is added by hand. */
async function readAuthKeys({ AUTH_KEYS, DATA_DIR }: Config): Promise<readonly string[]> {
  return AUTH_KEYS ?? (await readOrCreateSecret(DATA_DIR, "auth-keys")).trim().split(",");
}

function usesDatabase({ config, siblings }: Startup): boolean {
  return siblings.length > 0 || config.SERVICES.some((name) => SERVICES[name].usesDatabase);
}

async function connectDatabase({ config, log, stack, monitors }: Startup, url: string): Promise<Database> {
  const { Database } = await import("../lib/database.ts");
  const { requireMigrated } = await import("./migrate.ts");
  const database = new Database({ ...config, DATABASE_URL: url }, log);
  stack.push(() => database.close());
  for (const monitor of database.monitors) monitors.set(monitor.name, monitor);
  await database.start();
  await requireMigrated(url);
  return database;
}

async function openStorage({ config, log, stack, monitors }: Startup): Promise<Storage> {
  const { createStorage, storageMonitor } = await import("../lib/storage/create-storage.ts");
  const storage = await createStorage(config, log);
  stack.push(async () => storage.close());
  const monitor = storageMonitor(storage, config, log);
  monitors.set(monitor.name, monitor);
  stack.push(async () => monitor.stop());
  await monitor.start();
  return storage;
}

async function createMetrics(nodeId: string, database: Database | undefined): Promise<NodeMetrics> {
  const { NodeMetrics } = await import("../broker/metrics.ts");
  const metrics = new NodeMetrics(nodeId);
  if (database) metrics.watchPools(() => database.poolUsage());
  return metrics;
}

/** Shows the cache of the node to the cache service and to Prometheus. */
async function openCache(broker: ServiceBroker, metrics: NodeMetrics | undefined): Promise<void> {
  const { cacher } = broker;
  if (!(cacher instanceof Cacher)) return;
  broker.createService(createCacheNodeService(cacher.cache));
  if (!metrics) return;
  const { watchCache } = await import("../broker/cache/metrics.ts");
  watchCache(metrics.registry, cacher.cache);
}

async function startBroker({ siblings, stack, monitors }: Startup, node: Node): Promise<ServiceBroker> {
  const { config, log, metrics, redis } = node;
  const natsMonitor: DependencyMonitor = new DependencyMonitor({
    name: "nats",
    log,
    check: async () => {
      const connection = natsConnectionOf(broker);
      if (!connection) throw new Error("not connected yet");
      await connection.flush();
    },
  });
  const broker = new ServiceBroker(brokerOptions({ config, log, natsMonitor, metrics, redis }));
  const redisMonitor = redis && new DependencyMonitor({ name: "redis", log, check: () => redis.ping() });
  for (const monitor of [config.NATS_URL && natsMonitor, redisMonitor]) {
    if (!monitor) continue;
    monitors.set(monitor.name, monitor);
    stack.push(async () => monitor.stop());
  }

  for (const name of config.SERVICES) {
    const createSchema = await SERVICES[name].load();
    broker.createService(createSchema(node) as ServiceSchema);
  }
  await openCache(broker, metrics);
  for (const createSchema of siblings) broker.createService(createSchema(node) as ServiceSchema);
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
