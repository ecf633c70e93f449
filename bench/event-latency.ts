import { randomBytes } from "node:crypto";
import type { ServiceBroker } from "moleculer";

import { startNode } from "../bootstrap/running-node.ts";
import { loadConfig } from "../lib/config.ts";
import { call } from "../lib/contracts.ts";
import { silentLogger } from "../test/support/silent-logger.ts";
import { waitFor } from "../test/support/wait-for.ts";
import { startEventNode } from "./event-nodes.ts";
import type { Servers } from "./servers.ts";
import { latenciesOf, type Latencies } from "./statistics.ts";
import { atSteadyRate } from "./steady-rate.ts";

const EVENTS_PER_SECOND = 200;
/** Until the code that runs for each event is compiled. Not counted. */
const WARM_UP_SECONDS = 20;

const TABLE = `
  CREATE SCHEMA IF NOT EXISTS bench;
  CREATE TABLE IF NOT EXISTS bench.handled (user_id uuid PRIMARY KEY, handled_at_ms float8 NOT NULL);
  GRANT ALL ON SCHEMA bench TO rollcall; GRANT ALL ON bench.handled TO rollcall`;

// The time of a commit is taken before it is flushed to disk, which is therefore part of the latency.
const LATENCIES = `
  SELECT handled_at_ms - extract(epoch FROM pg_xact_commit_timestamp(users.xmin))::float8 * 1000 AS latency
  FROM bench.handled JOIN users.users ON users.id = handled.user_id
  WHERE users.id = ANY ($1)`;

/**
 * How long it takes from the commit of a user until the handler of its event is called. Creates users at a steady rate,
 * whatever the answers take, while the nodes of users, of the relay and of a consumer are processes of their own. Needs a
 * PostgreSQL with `track_commit_timestamp`.
 */
export async function measureEventLatency(
  servers: Servers,
  rounds: number,
  seconds: number,
): Promise<Latencies[]> {
  await servers.database.query(TABLE);
  const nodes = await Promise.all([
    startEventNode(servers, { services: "users" }),
    startEventNode(servers, { services: "events" }),
    startEventNode(servers, { services: "none", program: "../bench/event-consumer.ts" }),
  ]);

  const writer = await startNode(
    loadConfig({
      SERVICES: "none",
      NODE_ID: "bench-writer",
      DATABASE_URL: servers.databaseUrl,
      NATS_URL: servers.natsUrl,
      SECRET: "a secret of the benchmark, 32 characters or more",
    }),
    silentLogger,
  );
  try {
    await writer.broker.waitForServices("users");
    const warmUpIds = await createUsers(writer.broker, WARM_UP_SECONDS * EVENTS_PER_SECOND);
    // A consumer that is new begins with all events that there are.
    await readLatencies(servers, warmUpIds);
    const measured: Latencies[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const ids = await createUsers(writer.broker, seconds * EVENTS_PER_SECOND);
      measured.push(latenciesOf(await readLatencies(servers, ids)));
    }
    return measured;
  } finally {
    await writer.stop();
    await Promise.all(nodes.map((node) => node.stop()));
  }
}

async function createUsers(broker: ServiceBroker, count: number): Promise<string[]> {
  const users = await atSteadyRate({ perSecond: EVENTS_PER_SECOND, count }, () => {
    const email = `latency.${randomBytes(8).toString("hex")}@example.com`;
    return call(broker, "users.create", { email, firstName: "Ngozi", lastName: "Adichie" });
  });
  return users.map(({ id }) => id);
}

async function readLatencies({ database }: Servers, ids: string[]): Promise<number[]> {
  let latencies: number[] = [];
  await waitFor(
    async () => {
      const { rows } = await database.query<{ latency: number }>(LATENCIES, [ids]);
      latencies = rows.map(({ latency }) => latency);
      return latencies.length === ids.length;
    },
    { description: "every event to be handled", timeoutMs: 30_000, intervalMs: 500 },
  );
  return latencies;
}
