/**
 * `node bench/metrics.ts`: what metrics cost. Rollcall with METRICS_PORT is measured against Rollcall without, in turns,
 * on the same PostgreSQL and Redis; then how long a scrape takes and how large it is, and what an idle node needs. The
 * figures go on record in `METRICS.md`; with options they are only printed:
 *
 *     node bench/metrics.ts --rounds 1 --seconds 3 --users 10000
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { startNats } from "../test/support/nats.ts";
import { freePort } from "../test/support/ports.ts";
import type { Case } from "./cases.ts";
import { measureIdleNodes, type IdleNode } from "./idle-nodes.ts";
import { describeMachine } from "./machine.ts";
import { measureCases, type Measurement } from "./measure.ts";
import { sampleIds, seedUsers } from "./seed.ts";
import { startServers, type Servers } from "./servers.ts";
import { startRollcall, type MetricsPorts, type Side } from "./sides.ts";
import { faultsOf, summarize } from "./summary.ts";

/** One series of scrapes of a node. */
interface Scrapes {
  node: string;
  requests: number;
  bytes: number;
  medianMs: number;
  slowestMs: number;
}

const CONNECTIONS = 50;
const SCRAPES = 50;
const REQUESTS_BEFORE_SCRAPES = 100_000;

/** Least share of the throughput without metrics. */
const SPEED_TARGET = 0.9;
const SCRAPE_TARGET_BYTES = 200_000;
const SCRAPE_TARGET_MS = 50;
const IDLE_TARGET_MIB = 120;
const START_TARGET_MS = 3000;

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "4" },
    users: { type: "string", default: "50000" },
  },
});
const isComplete = process.argv.length === 2;
const progress = (line: string): void => console.error(line);

progress("starting PostgreSQL, NATS and Redis");
const servers = await startServers();
try {
  const machine = await describeMachine(servers, Number(options.users));
  await seedUsers(servers.database, Number(options.users));
  const idle = await measureIdleNodes(servers);
  const { measurements, scrapes } = await measureLoads(servers);
  const faults = measurements.flatMap(faultsOf);
  const figures = [
    machine.join("\n"),
    renderLoads(measurements),
    renderScrapes(scrapes),
    renderIdle(idle),
    ...faults.map((fault) => `**INVALID: ${fault}**`),
  ].join("\n\n");
  console.log(figures);
  if (faults.length > 0) process.exitCode = 1;
  else if (isComplete)
    await writeFile(join(import.meta.dirname, "METRICS.md"), `# What metrics cost\n\n${figures}\n`);
} finally {
  await servers.stop();
}

/** "Rollcall" has metrics, "the peer" is Rollcall without. */
async function measureLoads(shared: Servers): Promise<{ measurements: Measurement[]; scrapes: Scrapes[] }> {
  // On one NATS server the two would be one system.
  const otherNats = await startNats();
  const ports: MetricsPorts = { gateway: await freePort(), users: await freePort() };
  const [on, off] = await Promise.all([
    startRollcall(shared, undefined, ports),
    startRollcall({ ...shared, natsUrl: otherNats.url }),
  ]);
  // NATS is counted with neither.
  const nodesOf = ({ pids }: Side): number[] => pids.filter((pid) => pid !== shared.natsPid);
  try {
    const setup = {
      rollcall: { ...on, name: "with metrics", pids: nodesOf(on) },
      peer: { ...off, name: "without", pids: nodesOf(off) },
      database: shared.database,
      rounds: Number(options.rounds),
      secondsPerRun: Number(options.seconds),
      report: progress,
    };
    const cases = await prepareCases(shared);
    const measurements = await measureCases(setup, cases);
    while ((await requestsOf(ports.gateway)) < REQUESTS_BEFORE_SCRAPES) {
      await measureCases({ ...setup, peer: on, rounds: 1 }, cases.slice(0, 1));
    }
    const scrapes = [await scrapeOften("gateway", ports.gateway), await scrapeOften("users", ports.users)];
    return { measurements, scrapes };
  } finally {
    await Promise.all([on.stop(), off.stop()]);
    await otherNats.stop();
  }
}

/** The cheapest request there is, of which metrics are the largest part, and one that goes all the way. */
async function prepareCases({ database }: Servers): Promise<Case[]> {
  const paths = (await sampleIds(database, 1000)).map((id) => `/api/v1/users/${id}`);
  const of = (title: string, headers: Record<string, string>): Case => ({
    load: "get",
    title,
    connections: CONNECTIONS,
    target: SPEED_TARGET,
    spec: ({ baseUrl }) => ({ baseUrl, paths, creates: false, headers }),
  });
  return [of("GET /users/:id, cached", {}), of("GET /users/:id, uncached", { "cache-control": "no-cache" })];
}

async function scrape(port: number): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

async function requestsOf(port: number): Promise<number> {
  const counts = (await scrape(port)).matchAll(/^http_requests_total\{.*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function scrapeOften(node: string, port: number): Promise<Scrapes> {
  const times: number[] = [];
  let bytes = 0;
  for (let count = 0; count < SCRAPES; count++) {
    const startedAt = performance.now();
    bytes = Buffer.byteLength(await scrape(port));
    times.push(performance.now() - startedAt);
  }
  times.sort((a, b) => a - b);
  return {
    node,
    requests: await requestsOf(port),
    bytes,
    medianMs: times[Math.floor(SCRAPES / 2)] ?? Number.NaN,
    slowestMs: times.at(-1) ?? Number.NaN,
  };
}

function renderLoads(measurements: Measurement[]): string {
  const rows = measurements.map(summarize).map(({ measurement, rollcall, peer, speedRatio }) => {
    const { median, lowest, highest } = speedRatio;
    const ratio = `${median.toFixed(2)} (${lowest.toFixed(2)}–${highest.toFixed(2)})`;
    const cpu = `${whole(rollcall.cpuMicrosecondsPerRequest)} / ${whole(peer.cpuMicrosecondsPerRequest)}`;
    const speeds = `${whole(rollcall.requestsPerSecond)} | ${whole(peer.requestsPerSecond)}`;
    return `| ${measurement.case.title} | ${speeds} | ${ratio} | ≥ ${SPEED_TARGET}: ${verdict(median >= SPEED_TARGET)} | ${cpu} |`;
  });
  return [
    `| Load, ${CONNECTIONS} connections | With metrics requests/s | Without requests/s | Ratio (rounds) | Target | CPU µs/request with / without |`,
    "| --- | ---: | ---: | ---: | ---: | ---: |",
    ...rows,
  ].join("\n");
}

function renderScrapes(scrapes: Scrapes[]): string {
  return [
    `| Scrape of | After HTTP requests | Bytes (≤ ${whole(SCRAPE_TARGET_BYTES)}) | Median ms (≤ ${SCRAPE_TARGET_MS}) | Slowest ms of ${SCRAPES} |`,
    "| --- | ---: | ---: | ---: | ---: |",
    ...scrapes.map(({ node, requests, bytes, medianMs, slowestMs }) => {
      const size = `${whole(bytes)}: ${verdict(bytes <= SCRAPE_TARGET_BYTES)}`;
      const time = `${medianMs.toFixed(1)}: ${verdict(medianMs <= SCRAPE_TARGET_MS)}`;
      return `| ${node} | ${requests > 0 ? whole(requests) : "the same"} | ${size} | ${time} | ${slowestMs.toFixed(1)} |`;
    }),
  ].join("\n");
}

function renderIdle(nodes: IdleNode[]): string {
  return [
    `| Idle node | Metrics | Memory MiB (≤ ${IDLE_TARGET_MIB}) | Start to ready ms (≤ ${whole(START_TARGET_MS)}) |`,
    "| --- | --- | ---: | ---: |",
    ...nodes.map(({ services, hasMetrics, startMs, residentBytes }) => {
      const mebibytes = residentBytes / 2 ** 20;
      const memory = `${whole(mebibytes)}: ${verdict(mebibytes <= IDLE_TARGET_MIB)}`;
      return `| ${services} | ${hasMetrics ? "on" : "off"} | ${memory} | ${whole(startMs)}: ${verdict(startMs <= START_TARGET_MS)} |`;
    }),
  ].join("\n");
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function verdict(isMet: boolean): string {
  return isMet ? "met" : "**missed**";
}
