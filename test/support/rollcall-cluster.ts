import { ADMIN, logIn } from "./admin.ts";
import { startNats } from "./nats.ts";
import { startPostgres, type TestPostgres } from "./postgres.ts";
import { startRedis } from "./redis.ts";
import { RestClient } from "./rest-client.ts";
import { runRollcall, startRollcall, type Rollcall } from "./rollcall-process.ts";
import type { TestServer } from "./server-process.ts";
import { TEST_AUTH_KEY } from "./test-tokens.ts";
import { waitFor } from "./wait-for.ts";

/** Rollcall in distributed mode: a gateway, a node of auth and one of users, each a process, on private servers. */
export interface Cluster {
  readonly postgres: TestPostgres;
  readonly nats: TestServer;
  readonly redis: TestServer;
  /** Every node that was started, the gateway first. */
  readonly nodes: readonly Rollcall[];
  readonly gateway: Rollcall;
  readonly users: Rollcall;
  /** Of the gateway. */
  readonly url: string;
  /** Access token of an admin. */
  readonly token: string;
  /** Sends its requests as the admin. */
  readonly client: RestClient;
  /** Starts one more node of users; the gateway sends calls to it from now on. */
  addUsersNode(env?: Record<string, string>): Promise<Rollcall>;
  /** Starts a node of events, of which there is none in the beginning. */
  addEventsNode(): Promise<Rollcall>;
  /** Starts one more gateway. */
  addGateway(env?: Record<string, string>): Promise<Rollcall>;
  stop(): Promise<void>;
}

const SECRETS = { SECRET: "a secret of the tests with 32 characters", AUTH_KEYS: TEST_AUTH_KEY };

/**
 * Starts the servers, migrates the database, starts the nodes and logs in.
 *
 * @param settings of every node
 * @param admin with whom they make the first admin
 */
export async function startCluster(settings: Record<string, string> = {}, admin = ADMIN): Promise<Cluster> {
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
        ...SECRETS,
        ...settings,
        ...env,
      },
    });
    nodes.push(node);
    return node;
  };
  try {
    await migrate(postgres.url);
    const addGateway: Cluster["addGateway"] = (env) => start({ SERVICES: "api", ...env });
    const gateway = await addGateway();
    const addNode = async (service: string, env?: Record<string, string>): Promise<Rollcall> => {
      const id = `${service}-${nodes.length}`;
      const node = await start({ SERVICES: service, NODE_ID: id, ...env });
      await untilConnected(gateway, id);
      return node;
    };
    const users = await addNode("users");
    await start({ SERVICES: "auth", NODE_ID: "auth" });
    await untilReady(gateway.url);
    const token = await logIn(gateway.url, admin);
    const client = new RestClient(gateway.url, { token });
    return {
      postgres,
      nats,
      redis,
      nodes,
      gateway,
      users,
      url: gateway.url,
      token,
      client,
      addUsersNode: (env) => addNode("users", env),
      addEventsNode: () => addNode("events"),
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

function untilConnected(gateway: Rollcall, nodeId: string): Promise<unknown> {
  return waitFor(() => gateway.log.some(({ msg }) => msg === `Node '${nodeId}' connected.`), {
    description: `the gateway to know ${nodeId}`,
  });
}

async function migrate(databaseUrl: string): Promise<void> {
  const { exitCode, output } = await runRollcall({
    program: "migrate-command.ts",
    env: { DATABASE_URL: databaseUrl },
  });
  if (exitCode !== 0) throw new Error(`The migration failed: ${output}`);
}

/** Waits until a gateway says that it can serve. */
export async function untilReady(url: string): Promise<void> {
  const client = new RestClient(url);
  try {
    await waitFor(async () => (await client.get("/health/ready")).status === 200, {
      description: "the gateway to be ready",
    });
  } finally {
    client.close();
  }
}
