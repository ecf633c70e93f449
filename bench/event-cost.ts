import { randomBytes } from "node:crypto";

import { RELAY_LOCK } from "../services/events/relay-session.ts";
import { RestClient } from "../test/support/rest-client.ts";
import { waitFor } from "../test/support/wait-for.ts";
import { startEventNode } from "./event-nodes.ts";
import { watchCpu, type CpuByProgram } from "./process-usage.ts";
import type { Servers } from "./servers.ts";
import { startRollcall, type Side } from "./sides.ts";
import { latenciesOf, type Latencies } from "./statistics.ts";
import { atSteadyRate } from "./steady-rate.ts";

/** A rate that leaves the machine time: at its limit, whatever else runs on it shows in the latency. */
const CREATES_PER_SECOND = 200;
const MAX_SOCKETS = 100;
/** Until the code that runs for each request and each event is compiled. */
const WARM_UP_SECONDS = 20;
/** After a change of turns, until the relay leads and what has gathered is published. */
const SETTLE_SECONDS = 3;

/** `POST /users`: from the moment at which it was due. */
type Cost = Latencies & {
  cpu: CpuByProgram;
};

/** While a relay publishes the events, and while none does. */
export interface CostRound {
  published: Cost;
  unpublished: Cost;
}

/** Measures the same processes while the relay publishes and while it is kept from it, in turns. */
export async function measurePublishingCost(
  servers: Servers,
  rounds: number,
  seconds: number,
): Promise<CostRound[]> {
  const [side, relay] = await Promise.all([
    startRollcall(servers),
    startEventNode(servers, { services: "events" }),
  ]);
  const measure = async (): Promise<Cost> => {
    await createUsers(side, SETTLE_SECONDS);
    return createUsers(side, seconds);
  };
  try {
    await createUsers(side, WARM_UP_SECONDS);
    const measured: CostRound[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const publishedFirst = round % 2 === 0 ? await measure() : undefined;
      const unpublished = await withoutRelay(servers, measure);
      measured.push({ unpublished, published: publishedFirst ?? (await measure()) });
    }
    return measured;
  } finally {
    await Promise.all([side.stop(), relay.stop()]);
  }
}

/** A relay that is there and may not lead costs nothing, and is as warm as before when it may again. */
async function withoutRelay<T>({ database }: Servers, work: () => Promise<T>): Promise<T> {
  const lead = async (): Promise<boolean> => {
    const { rows } = await database.query<{ isOurs: boolean }>(
      `SELECT pg_try_advisory_lock(${RELAY_LOCK}) AS "isOurs",
         (SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
            AND (classid::bigint << 32 | objid::bigint) = ${RELAY_LOCK} AND pid <> pg_backend_pid())`,
    );
    return rows[0]?.isOurs === true;
  };
  await waitFor(lead, { description: "the relay to lead no more", intervalMs: 5 });
  try {
    return await work();
  } finally {
    await database.query(`SELECT pg_advisory_unlock(${RELAY_LOCK})`);
  }
}

async function createUsers(side: Side, seconds: number): Promise<Cost> {
  const client = new RestClient(side.baseUrl, { maxSockets: MAX_SOCKETS });
  const count = seconds * CREATES_PER_SECOND;
  const cpuUsed = watchCpu();
  const latencies = await atSteadyRate({ perSecond: CREATES_PER_SECOND, count }, async (dueAt) => {
    const email = `cost.${randomBytes(8).toString("hex")}@example.com`;
    const body = { email, firstName: "Ngozi", lastName: "Adichie" };
    const { status } = await client.request("POST", "/api/v1/users", { headers: side.credentials, body });
    if (status !== 201) throw new Error(`POST /users was answered with ${status}`);
    return performance.now() - dueAt;
  });
  const cpu = cpuUsed(count);
  client.close();
  return { ...latenciesOf(latencies), cpu };
}
