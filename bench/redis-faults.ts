import { setTimeout as sleep } from "node:timers/promises";

import type { TestServer } from "../test/support/server-process.ts";
import { startTcpProxy, type TcpProxy } from "../test/support/tcp-proxy.ts";
import type { Servers } from "./servers.ts";
import { startRollcall } from "./sides.ts";
import { readAsIfFor, runSteadyLoad, type SteadyResult } from "./steady.ts";

/** One state of Redis, and a steady load during it. */
export interface FaultResult extends SteadyResult {
  fault: string;
}

interface Fault {
  name: string;
  begin: Change;
  end: Change;
}

type Change = (redis: TestServer, proxy: TcpProxy) => Promise<unknown> | void;

const late = (name: string, delayMs: () => number): Fault => ({
  name,
  begin: (_redis, proxy) => proxy.delayAnswers(delayMs),
  end: (_redis, proxy) => proxy.delayAnswers(() => 0),
});

/** The first is none: what the others are compared with. */
const FAULTS: readonly Fault[] = [
  { name: "none", begin: () => undefined, end: () => undefined },
  { name: "killed", begin: (redis) => redis.kill(), end: (redis) => redis.restart() },
  { name: "frozen", begin: (redis) => redis.freeze(), end: (redis) => redis.thaw() },
  late("10 ms late", () => 10),
  late("40 ms late", () => 40),
  late("100 ms late", () => 100),
  late("up to 100 ms late", () => Math.random() * 100),
];

/** A node uses Redis again within a second of its return. */
const RECOVERY_MS = 3000;

interface FaultLoad {
  ids: readonly string[];
  requestsPerSecond: number;
  seconds: number;
  writeShare: number;
  /** For how long the system is taken to have been in use before. */
  historySeconds: number;
  report: (line: string) => void;
}

/** Puts a Rollcall of its own, which reaches Redis through a proxy, under the same load in each state of Redis. */
export async function measureRedisFaults(
  servers: Servers,
  redis: TestServer,
  { report, historySeconds, ...load }: FaultLoad,
): Promise<FaultResult[]> {
  const proxy = await startTcpProxy(redis.url);
  const side = await startRollcall({ ...servers, redisUrl: proxy.url }, { guards: "token-and-limits" });
  try {
    await readAsIfFor(historySeconds, { side, ...load });
    await runSteadyLoad({ side, ...load });
    const results: FaultResult[] = [];
    for (const { name, begin, end } of FAULTS) {
      report(`Redis: ${name}`);
      const running = runSteadyLoad({ side, ...load });
      await begin(redis, proxy);
      results.push({ fault: name, ...(await running) });
      await end(redis, proxy);
      await sleep(RECOVERY_MS);
    }
    return results;
  } finally {
    await side.stop();
    await proxy.stop();
  }
}
