/**
 * `node bench/metrics.ts`: what metrics cost. Rollcall with METRICS_PORT is measured against Rollcall without, in turns,
 * on the same PostgreSQL and Redis; then how long a scrape takes and how large it is, and what an idle node needs. The
 * figures go on record in `METRICS.md`; with options they are only printed:
 *
 *     node bench/metrics.ts --rounds 1 --seconds 3 --users 10000
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { freePort } from "../test/support/ports.ts";
import { readOptions } from "./command-line.ts";
import { compareRollcalls, readCases, renderComparison } from "./comparison.ts";
import { verdict, whole } from "./figures.ts";
import { measureIdleNodes, type IdleNode } from "./idle-nodes.ts";
import { describeMachine } from "./machine.ts";
import type { Measurement } from "./measure.ts";
import { seedUsers } from "./seed.ts";
import { startServers } from "./servers.ts";
import type { MetricsPorts } from "./sides.ts";
import { faultsOf } from "./summary.ts";

/** One series of scrapes of a node. */
interface Scrapes {
  node: string;
  requests: number;
  bytes: number;
  medianMs: number;
  slowestMs: number;
}

const SCRAPES = 50;
const REQUESTS_BEFORE_SCRAPES = 100_000;

/** Least share of the throughput without metrics. */
const SPEED_TARGET = 0.9;
const SCRAPE_TARGET_BYTES = 200_000;
const SCRAPE_TARGET_MS = 50;
const IDLE_TARGET_MIB = 120;
const START_TARGET_MS = 3000;

const { rounds, seconds, users } = readOptions({ rounds: 5, seconds: 4, users: 50_000 });
const isComplete = process.argv.length === 2;
const progress = (line: string): void => console.error(line);

progress("starting PostgreSQL, NATS and Redis");
const servers = await startServers();
try {
  const machine = await describeMachine(servers, users);
  await seedUsers(servers.database, users);
  const idle = await measureIdleNodes(servers);
  const { measurements, scrapes } = await measureLoads();
  const faults = measurements.flatMap(faultsOf);
  const figures = [
    machine.join("\n"),
    renderComparison("metrics", measurements, SPEED_TARGET),
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

async function measureLoads(): Promise<{ measurements: Measurement[]; scrapes: Scrapes[] }> {
  const metricsPorts: MetricsPorts = { gateway: await freePort(), users: await freePort() };
  const difference = { name: "metrics", on: { metricsPorts }, off: {} };
  const settings = {
    rounds,
    secondsPerRun: seconds,
    report: progress,
  };
  return compareRollcalls(servers, difference, settings, async (measure) => {
    const cases = await readCases(servers, SPEED_TARGET);
    const measurements = await measure(cases);
    while ((await requestsOf(metricsPorts.gateway)) < REQUESTS_BEFORE_SCRAPES) {
      await measure(cases.slice(0, 1), 1);
    }
    const scrapes = [
      await scrapeOften("gateway", metricsPorts.gateway),
      await scrapeOften("users", metricsPorts.users),
    ];
    return { measurements, scrapes };
  });
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
