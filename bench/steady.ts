import { RestClient } from "../test/support/rest-client.ts";
import type { Side } from "./sides.ts";
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
  hitRatio: number;
  failed: number;
}

/** Milliseconds. */
export interface Latencies {
  count: number;
  p50: number;
  p99: number;
  max: number;
}

const MAX_SOCKETS = 100;

/** Sends reads and writes at a steady rate. */
export async function runSteadyLoad(load: SteadyLoad): Promise<SteadyResult> {
  const { side, requestsPerSecond, seconds, writeShare } = load;
  const client = new RestClient(side.baseUrl, { maxSockets: MAX_SOCKETS });
  const pick = zipf(load.ids);
  const latencies = { reads: [] as number[], hits: [] as number[], writes: [] as number[] };
  let failed = 0;
  const send = async (dueAt: number): Promise<void> => {
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
  await atSteadyRate({ perSecond: requestsPerSecond, count: requestsPerSecond * seconds }, send);
  client.close();
  return {
    reads: describe(latencies.reads),
    hits: describe(latencies.hits),
    writes: describe(latencies.writes),
    hitRatio: latencies.hits.length / latencies.reads.length,
    failed,
  };
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

function describe(values: number[]): Latencies {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? Number.NaN };
}
