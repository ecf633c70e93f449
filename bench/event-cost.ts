import { randomBytes } from "node:crypto";

import { RestClient } from "../test/support/rest-client.ts";
import { startEventNode } from "./event-nodes.ts";
import { cpuSecondsOfChildren } from "./process-usage.ts";
import type { Servers } from "./servers.ts";
import { startRollcall, type Side } from "./sides.ts";
import { latenciesOf, type Latencies } from "./statistics.ts";
import { atSteadyRate } from "./steady-rate.ts";

/** A rate that leaves the machine time: at its limit, whatever else runs on it shows in the latency. */
const CREATES_PER_SECOND = 200;
const MAX_SOCKETS = 100;
const WARM_UP_SECONDS = 3;

/** `POST /users`: from the moment at which it was due. */
type Cost = Latencies & {
  /** Milliseconds of CPU for each request, of all processes but the load generator: the servers, Rollcall and the relay. */
  cpu: number;
};

/** While a relay publishes the events, and while there is none. */
export interface CostRound {
  published: Cost;
  unpublished: Cost;
}

/** Measures the same Rollcall with a relay and without, in turns. */
export async function measurePublishingCost(
  servers: Servers,
  rounds: number,
  seconds: number,
): Promise<CostRound[]> {
  const side = await startRollcall(servers);
  try {
    await createUsers(side, WARM_UP_SECONDS);
    const measured: CostRound[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const unpublishedFirst = round % 2 === 0 ? await createUsers(side, seconds) : undefined;
      const published = await createPublished(servers, side, seconds);
      measured.push({ published, unpublished: unpublishedFirst ?? (await createUsers(side, seconds)) });
    }
    return measured;
  } finally {
    await side.stop();
  }
}

async function createPublished(servers: Servers, side: Side, seconds: number): Promise<Cost> {
  const relay = await startEventNode(servers, { services: "events" });
  try {
    // Also publishes what was written while there was no relay.
    await createUsers(side, WARM_UP_SECONDS);
    return await createUsers(side, seconds);
  } finally {
    await relay.stop();
  }
}

async function createUsers(side: Side, seconds: number): Promise<Cost> {
  const client = new RestClient(side.baseUrl, { maxSockets: MAX_SOCKETS });
  const count = seconds * CREATES_PER_SECOND;
  const cpuBefore = cpuSecondsOfChildren();
  const latencies = await atSteadyRate({ perSecond: CREATES_PER_SECOND, count }, async (dueAt) => {
    const email = `cost.${randomBytes(8).toString("hex")}@example.com`;
    const body = { email, firstName: "Ngozi", lastName: "Adichie" };
    const { status } = await client.request("POST", "/api/v1/users", { headers: side.credentials, body });
    if (status !== 201) throw new Error(`POST /users was answered with ${status}`);
    return performance.now() - dueAt;
  });
  const cpuSeconds = [...cpuSecondsOfChildren()].map(([pid, after]) => after - (cpuBefore.get(pid) ?? 0));
  client.close();
  const cpu = (cpuSeconds.reduce((sum, used) => sum + used, 0) / count) * 1000;
  return { ...latenciesOf(latencies), cpu };
}
