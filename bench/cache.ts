/**
 * `node bench/cache.ts`: reads of cached users against the Fastify peer and against a stock Moleculer system, in turns,
 * for Rollcall with metrics, authentication and limits, of which the others only have metrics; then a steady load of
 * reads and writes, the same while Redis is killed and comes back, and what faults of Redis add to the time of a request.
 * The figures go on record in `CACHE.md`; with options they are only printed:
 *
 *     node bench/cache.ts --rounds 1 --seconds 3 --users 10000 --steady 10
 *     node bench/cache.ts --rounds 1 --seconds 20 --steady 0 --profile ./profiles
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { freePort } from "../test/support/ports.ts";
import { startRedis } from "../test/support/redis.ts";
import type { TestServer } from "../test/support/server-process.ts";
import {
  renderComparisons,
  renderDisturbed,
  renderRedisFaults,
  renderSteady,
  renderSteadyTerms,
} from "./cache-report.ts";
import type { Case } from "./cases.ts";
import { readOptions } from "./command-line.ts";
import { measureDisk, watchFlushes } from "./disk.ts";
import { describeMachine } from "./machine.ts";
import { measureCases } from "./measure.ts";
import { measureRedisFaults } from "./redis-faults.ts";
import { sampleIds, seedUsers } from "./seed.ts";
import { startServers, type Servers } from "./servers.ts";
import { startPeer, startRollcall, startStockMoleculer, type Side } from "./sides.ts";
import { readAsIfFor, runSteadyLoad } from "./steady.ts";
import { faultsOf, summarize, type Summary } from "./summary.ts";

const CONNECTIONS = 50;
/** Few enough that every one of them is soon in every cache. */
const HOT_USERS = 1000;

const FASTIFY_TARGET = 1;
const STOCK_TARGET = 3;

const STEADY_RATE = 500;
const WRITE_SHARE = 0.1;
const WARM_UP_SECONDS = 60;
/** For how long the system is taken to have been in use before the steady load. */
const HISTORY_SECONDS = 3600;

/** Lower, since the proxy in front of Redis runs beside the load generator. */
const FAULT_RATE = 200;
const DISK_SECONDS = 5;

const options = readOptions({ rounds: 5, seconds: 6, users: 100_000, steady: 120, profile: undefined });
const isComplete = process.argv.length === 2;
const { users, steady: steadySeconds } = options;
const progress = (line: string): void => console.error(line);

progress("starting PostgreSQL, NATS and Redis");
const servers = await startServers({ track_wal_io_timing: "on" });
const redis = await startRedis();
try {
  const machine = await describeMachine(servers, users);
  await seedUsers(servers.database, users);
  const parts = [machine.join("\n"), ...(await measureRollcall())];
  if (steadySeconds > 0) parts.push(await measureFaults());
  const figures = parts.join("\n\n");
  console.log(figures);
  if (isComplete) await writeFile(join(import.meta.dirname, "CACHE.md"), `# The cache\n\n${figures}\n`);
} finally {
  await redis.stop();
  await servers.stop();
}

async function measureRollcall(): Promise<string[]> {
  const rollcall = await startRollcall(
    { ...servers, redisUrl: redis.url },
    {
      guards: "token-and-limits",
      metricsPorts: { gateway: await freePort(), users: await freePort() },
      profileDir: options.profile,
    },
  );
  try {
    const comparisons = renderComparisons([
      await compare(servers, rollcall, await startPeer(servers, options.profile), FASTIFY_TARGET),
      await compare(servers, rollcall, await startStockMoleculer(servers), STOCK_TARGET),
    ]);
    return steadySeconds > 0
      ? [comparisons, ...(await measureSteadyLoads(servers, rollcall, redis))]
      : [comparisons];
  } finally {
    await rollcall.stop();
  }
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
      rounds: options.rounds,
      secondsPerRun: options.seconds,
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
  const disk = await measureDisk(DISK_SECONDS);
  const ids = await sampleIds(database, users);
  const load = { side, ids, requestsPerSecond: STEADY_RATE, writeShare: WRITE_SHARE };
  progress("filling the caches");
  const cached = await readAsIfFor(HISTORY_SECONDS, load);
  progress("steady load, warm-up");
  await runSteadyLoad({ ...load, seconds: Math.min(WARM_UP_SECONDS, steadySeconds) });
  progress("steady load");
  const flushesSince = await watchFlushes(database);
  const calm = await runSteadyLoad({ ...load, seconds: steadySeconds });
  const flushes = await flushesSince();
  progress("steady load, while Redis is killed");
  const [disturbed] = await Promise.all([
    runSteadyLoad({ ...load, seconds: steadySeconds }),
    sleep((steadySeconds * 1000) / 3).then(() => cacheServer.kill()),
    sleep((steadySeconds * 2000) / 3).then(() => cacheServer.restart()),
  ]);
  const terms = `${STEADY_RATE} requests/s for ${steadySeconds} s, ${WRITE_SHARE * 100} % writes, Zipf (exponent 1) over ${users} users. Before, each of the ${cached} users that ${HISTORY_SECONDS / 60} minutes of this load read is read once: an entry lives for a day, so a system in use has them cached.`;
  return [
    renderSteadyTerms(terms, disk),
    renderSteady("All is well", calm, flushes),
    renderDisturbed("Redis is killed after a third and back after two thirds of the time", disturbed),
  ];
}

async function measureFaults(): Promise<string> {
  const seconds = Math.ceil(steadySeconds / 6);
  const load = {
    requestsPerSecond: FAULT_RATE,
    seconds,
    writeShare: WRITE_SHARE,
    historySeconds: HISTORY_SECONDS,
  };
  const ids = await sampleIds(servers.database, users);
  const results = await measureRedisFaults(servers, redis, { ...load, ids, report: progress });
  const terms = `${FAULT_RATE} requests/s for ${seconds} s in each state of Redis, ${WRITE_SHARE * 100} % writes, Zipf (exponent 1) over ${users} users. Redis is reached through a proxy.`;
  return renderRedisFaults(terms, results);
}
