import { startNats } from "./nats.ts";
import { startPostgres, type TestPostgres } from "./postgres.ts";
import { startRedis } from "./redis.ts";
import { RestClient } from "./rest-client.ts";
import { runRollcall, startRollcall, type Rollcall } from "./rollcall-process.ts";
import type { TestServer } from "./server-process.ts";
import { waitFor } from "./wait-for.ts";

/** Rollcall in distributed mode: a gateway and a node of users, each a process, on private servers. */
export interface Cluster {
  readonly postgres: TestPostgres;
  readonly nats: TestServer;
  readonly redis: TestServer;
  readonly gateway: Rollcall;
  readonly users: Rollcall;
  /** Of the gateway. */
  readonly url: string;
  readonly client: RestClient;
  /** Starts one more node of users; the gateway sends calls to it from now on. */
  addUsersNode(env?: Record<string, string>): Promise<Rollcall>;
  /** Starts one more gateway. */
  addGateway(env?: Record<string, string>): Promise<Rollcall>;
  stop(): Promise<void>;
}

/** Starts the servers, migrates the database and starts a gateway and a node of users. */
export async function startCluster(): Promise<Cluster> {
  const [postgres, nats, redis] = await Promise.all([startPostgres(), startNats(), startRedis()]);
  const nodes: Rollcall[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()));
    await Promise.all([postgres, nats, redis].map((server) => server.stop()));
  };
  const start = async (env: Record<string, string>): Promise<Rollcall> => {
    const node = await startRollcall({
      env: {
        DATABASE_URL: postgres.url,
        NATS_URL: nats.url,
        REDIS_URL: redis.url,
        SECRET: "a secret of the tests with 32 characters",
        ...env,
      },
    });
    nodes.push(node);
    return node;
  };
  try {
    const migration = await runRollcall({
      program: "migrate-command.ts",
      env: { DATABASE_URL: postgres.url },
    });
    if (migration.exitCode !== 0) throw new Error(`The migration failed: ${migration.output}`);
    const addGateway = (env: Record<string, string> = {}): Promise<Rollcall> =>
      start({ SERVICES: "api", ...env });
    const gateway = await addGateway();
    const addUsersNode = async (env: Record<string, string> = {}): Promise<Rollcall> => {
      const id = `users-${nodes.length}`;
      const node = await start({ SERVICES: "users", NODE_ID: id, ...env });
      await waitFor(() => gateway.log.some(({ msg }) => msg === `Node '${id}' connected.`), {
        description: `the gateway to know ${id}`,
      });
      return node;
    };
    const users = await addUsersNode();
    const client = new RestClient(gateway.url);
    await untilReady(gateway.url);
    return {
      postgres,
      nats,
      redis,
      gateway,
      users,
      url: gateway.url,
      client,
      addUsersNode,
      addGateway,
      stop: async () => {
        client.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Waits until a gateway says that it can serve. */
export async function untilReady(url: string, timeoutMs = 10_000): Promise<void> {
  const client = new RestClient(url);
  try {
    await waitFor(async () => (await client.get("/health/ready")).status === 200, {
      description: "the gateway to be ready",
      timeoutMs,
    });
  } finally {
    client.close();
  }
}
