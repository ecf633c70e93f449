/**
 * `node bench/cache.ts`: reads of cached users against the Fastify peer and against a stock Moleculer system, in turns,
 * for Rollcall with metrics, authentication and limits, which both others do without but for metrics; then a steady load of reads and writes, and the same while Redis is killed and comes back. The figures go on record in
 * `CACHE.md`; with options they are only printed:
 *
 *     node bench/cache.ts --rounds 1 --seconds 3 --users 10000 --steady 10
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { freePort } from "../test/support/ports.ts";
import { startRedis } from "../test/support/redis.ts";
import type { TestServer } from "../test/support/server-process.ts";
import type { Case } from "./cases.ts";
import { describeMachine } from "./machine.ts";
import { measureCases } from "./measure.ts";
import { sampleIds, seedUsers } from "./seed.ts";
import { startServers, type Servers } from "./servers.ts";
import { startPeer, startRollcall, startStockMoleculer, type Side } from "./sides.ts";
import { runSteadyLoad, type Latencies, type SteadyResult } from "./steady.ts";
import { faultsOf, summarize, type Summary } from "./summary.ts";

const CONNECTIONS = 50;
/** Few enough that every one of them is soon in every cache. */
const HOT_USERS = 1000;

const FASTIFY_TARGET = 1;
const STOCK_TARGET = 3;

const STEADY_RATE = 500;
const WRITE_SHARE = 0.1;
const P99_TARGET_MS = 10;
const SPREAD_TARGET_MS = 5;
const HIT_RATIO_TARGET = 0.94;

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "6" },
    users: { type: "string", default: "100000" },
    steady: { type: "string", default: "120" },
  },
});
const isComplete = process.argv.length === 2;
const users = Number(options.users);
const steadySeconds = Number(options.steady);
const progress = (line: string): void => console.error(line);

progress("starting PostgreSQL, NATS and Redis");
const servers = await startServers();
const redis = await startRedis();
try {
  const machine = await describeMachine(servers, users);
  await seedUsers(servers.database, users);
  const rollcall = await startRollcall(
    { ...servers, redisUrl: redis.url },
    { guards: "token-and-limits", metricsPorts: { gateway: await freePort(), users: await freePort() } },
  );
  try {
    const figures = [
      machine.join("\n"),
      renderComparisons([
        await compare(servers, rollcall, await startPeer(servers), FASTIFY_TARGET),
        await compare(servers, rollcall, await startStockMoleculer(servers), STOCK_TARGET),
      ]),
      ...(await measureSteadyLoads(servers, rollcall, redis)),
    ].join("\n\n");
    console.log(figures);
    if (isComplete) await writeFile(join(import.meta.dirname, "CACHE.md"), `# The cache\n\n${figures}\n`);
  } finally {
    await rollcall.stop();
  }
} finally {
  await redis.stop();
  await servers.stop();
}

/** Stops the peer afterwards. */
async function compare({ database }: Servers, rollcall: Side, peer: Side, target: number): Promise<Summary> {
  try {
    const paths = (await sampleIds(database, HOT_USERS)).map((id) => `/api/v1/users/${id}`);
    const cached: Case = {
      load: "get",
      title: `GET /users/:id, cached, against ${peer.name}`,
      connections: CONNECTIONS,
      target,
      spec: ({ baseUrl }) => ({ baseUrl, paths, creates: false, headers: {} }),
    };
    const setup = {
      rollcall,
      peer,
      database,
      rounds: Number(options.rounds),
      secondsPerRun: Number(options.seconds),
      report: progress,
    };
    const [measurement] = await measureCases(setup, [cached]);
    if (!measurement) throw new Error("nothing was measured");
    const faults = faultsOf(measurement);
    if (faults.length > 0) throw new Error(`${cached.title}: ${faults.join(", ")}`);
    return summarize(measurement);
  } finally {
    await peer.stop();
  }
}

async function measureSteadyLoads(
  { database }: Servers,
  side: Side,
  cacheServer: TestServer,
): Promise<string[]> {
  const ids = await sampleIds(database, users);
  const load = { side, ids, requestsPerSecond: STEADY_RATE, writeShare: WRITE_SHARE };
  // The caches of a system on its busiest day are not empty.
  progress("steady load, warm-up");
  await runSteadyLoad({ ...load, seconds: steadySeconds / 2 });
  progress("steady load");
  const calm = await runSteadyLoad({ ...load, seconds: steadySeconds });
  progress("steady load, while Redis is killed");
  const [disturbed] = await Promise.all([
    runSteadyLoad({ ...load, seconds: steadySeconds }),
    sleep((steadySeconds * 1000) / 3).then(() => cacheServer.kill()),
    sleep((steadySeconds * 2000) / 3).then(() => cacheServer.restart()),
  ]);
  return [
    renderSteady("A steady load", calm),
    renderSteady(
      "The same, with Redis killed after a third and back after two thirds of the time",
      disturbed,
    ),
  ];
}

function renderComparisons(summaries: readonly Summary[]): string {
  const lines = summaries.map(({ measurement: { case: measured }, rollcall, peer, speedRatio }) => {
    const { title, target = 0 } = measured;
    const verdict = speedRatio.median >= target ? "met" : "missed";
    const rounds = `${speedRatio.lowest.toFixed(2)} to ${speedRatio.highest.toFixed(2)}`;
    return `| ${title} | ${whole(rollcall.requestsPerSecond)} | ${whole(peer.requestsPerSecond)} | ${speedRatio.median.toFixed(2)} (${rounds}) | ≥ ${target}: ${verdict} | ${milliseconds(rollcall.p99)} / ${milliseconds(peer.p99)} |`;
  });
  return [
    "## Cached reads",
    [
      "| Load | Rollcall requests/s | Peer requests/s | Ratio (rounds) | Target | p99 ms |",
      "| --- | --- | --- | --- | --- | --- |",
      ...lines,
    ].join("\n"),
  ].join("\n\n");
}

function renderSteady(title: string, { reads, hits, writes, hitRatio, failed }: SteadyResult): string {
  const row = (name: string, { count, p50, p99, max }: Latencies): string =>
    `| ${name} | ${count} | ${milliseconds(p50)} | ${milliseconds(p99)} | ${milliseconds(max)} |`;
  const verdict = (isMet: boolean): string => (isMet ? "met" : "missed");
  const slowest = Math.max(reads.p99, writes.p99);
  return [
    `## ${title}`,
    `${STEADY_RATE} requests/s for ${steadySeconds} s, ${WRITE_SHARE * 100} % writes, Zipf over ${users} users.`,
    [
      "| Operation | Count | p50 ms | p99 ms | max ms |",
      "| --- | --- | --- | --- | --- |",
      row("reads", reads),
      row("reads from a cache", hits),
      row("writes", writes),
    ].join("\n"),
    [
      `- p99 of every operation at most ${P99_TARGET_MS} ms: ${verdict(slowest <= P99_TARGET_MS)}`,
      `- p99 − p50 of cached reads at most ${SPREAD_TARGET_MS} ms: ${verdict(hits.p99 - hits.p50 <= SPREAD_TARGET_MS)}`,
      `- hit ratio ${(hitRatio * 100).toFixed(1)} %, at least ${HIT_RATIO_TARGET * 100} %: ${verdict(hitRatio >= HIT_RATIO_TARGET)}`,
      `- failed requests: ${failed}`,
    ].join("\n"),
  ].join("\n\n");
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function milliseconds(value: number): string {
  return value.toFixed(1);
}
