import { runLoadGenerator } from "./measure.ts";
import type { LoadResult } from "./load.ts";
import { startEventNode } from "./event-nodes.ts";
import type { Servers } from "./servers.ts";
import { startRollcall, type Side } from "./sides.ts";

/** A rate that leaves the machine time: at its limit, whatever else runs on it shows in the latency. */
const CREATES_PER_SECOND = 200;
const CONNECTIONS = 10;
const WARM_UP_SECONDS = 3;

/** `POST /users` while a relay publishes the events, and while there is none. */
export interface CostRound {
  published: LoadResult;
  unpublished: LoadResult;
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

async function createPublished(servers: Servers, side: Side, seconds: number): Promise<LoadResult> {
  const relay = await startEventNode(servers, { services: "events" });
  try {
    // Also publishes what was written while there was no relay.
    await createUsers(side, WARM_UP_SECONDS);
    return await createUsers(side, seconds);
  } finally {
    await relay.stop();
  }
}

function createUsers(side: Side, seconds: number): Promise<LoadResult> {
  return runLoadGenerator({
    baseUrl: side.baseUrl,
    paths: ["/api/v1/users"],
    creates: true,
    headers: { ...side.credentials, "content-type": "application/json" },
    connections: CONNECTIONS,
    requestsPerSecond: CREATES_PER_SECOND,
    seconds,
  });
}
