import { RestClient } from "../test/support/rest-client.ts";
import { watchCpu, type CpuByProgram } from "./process-usage.ts";
import type { Side } from "./sides.ts";
import { latenciesOf, type Latencies } from "./statistics.ts";
import { atSteadyRate } from "./steady-rate.ts";

/** A load like that of a busy day: so many requests a second, whatever the answers take. */
export interface SteadyLoad {
  side: Side;
  ids: readonly string[];
  requestsPerSecond: number;
  seconds: number;
  /** Share of the requests that change a user. */
  writeShare: number;
}

export interface SteadyResult {
  reads: Latencies;
  /** Of the reads that were answered from a cache. */
  hits: Latencies;
  writes: Latencies;
  /** How long after it was due a request was sent, which counts as part of its time. */
  delays: Latencies;
  cpu: CpuByProgram;
  hitRatio: number;
  failed: number;
}

const MAX_SOCKETS = 100;
const READERS = 20;

/** Sends reads and writes at a steady rate. */
export async function runSteadyLoad(load: SteadyLoad): Promise<SteadyResult> {
  const { side, requestsPerSecond, seconds, writeShare } = load;
  const client = new RestClient(side.baseUrl, { maxSockets: MAX_SOCKETS });
  const pick = zipf(load.ids);
  const latencies = { reads: [] as number[], hits: [] as number[], writes: [] as number[] };
  const delays: number[] = [];
  let failed = 0;
  const send = async (dueAt: number): Promise<void> => {
    delays.push(performance.now() - dueAt);
    const path = `/api/v1/users/${pick()}`;
    const isWrite = Math.random() < writeShare;
    const body = { nickname: `nick ${Math.random()}` };
    try {
      const { status, headers } = await client.request(isWrite ? "PATCH" : "GET", path, {
        headers: side.credentials,
        ...(isWrite && { body }),
      });
      const took = performance.now() - dueAt;
      latencies[isWrite ? "writes" : "reads"].push(took);
      if (String(headers["cache-status"]).includes("hit;")) latencies.hits.push(took);
      if (status !== 200) failed += 1;
    } catch {
      failed += 1;
    }
  };
  const count = requestsPerSecond * seconds;
  const cpuUsed = watchCpu();
  await atSteadyRate({ perSecond: requestsPerSecond, count }, send);
  const cpu = cpuUsed(count);
  client.close();
  return {
    reads: latenciesOf(latencies.reads),
    hits: latenciesOf(latencies.hits),
    writes: latenciesOf(latencies.writes),
    delays: latenciesOf(delays),
    cpu,
    hitRatio: latencies.hits.length / latencies.reads.length,
    failed,
  };
}

/**
 * Reads each user once that the load would have read in so many seconds, as fast as the system goes, and so leaves its
 * caches as that load would.
 *
 * @returns how many users that were
 */
export async function readAsIfFor(seconds: number, load: Omit<SteadyLoad, "seconds">): Promise<number> {
  const { side, ids, requestsPerSecond, writeShare } = load;
  const pick = zipf(ids);
  const reads = Math.round(seconds * requestsPerSecond * (1 - writeShare));
  const unread = new Set(Array.from({ length: reads }, pick));
  const count = unread.size;
  const client = new RestClient(side.baseUrl, { maxSockets: READERS });
  const readers = Array.from({ length: READERS }, async () => {
    for (const id of unread) {
      unread.delete(id);
      const { status } = await client.request("GET", `/api/v1/users/${id}`, { headers: side.credentials });
      if (status !== 200) throw new Error(`GET /users/:id was answered with ${status}`);
    }
  });
  await Promise.all(readers);
  client.close();
  return count;
}

/** Picks the first often and the last seldom: the n-th with a weight of 1/n. */
function zipf(ids: readonly string[]): () => string {
  let sum = 0;
  const sums = ids.map((_, index) => (sum += 1 / (index + 1)));
  return () => {
    const at = Math.random() * sum;
    let [low, high] = [0, sums.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return ids[low] as string;
  };
}
