/**
 * `node bench/media.ts`: files of images through the gateway, beside a bare static file server of Node for the same
 * bytes. The figures go on record in `MEDIA.md`; with options they are only printed:
 *
 *     node bench/media.ts --rounds 1 --seconds 5
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { dirname, join } from "node:path";

import { mediaKey, mediaPath, type MediaFile } from "../lib/media-path.ts";
import { DiskStorage } from "../lib/storage/disk.ts";
import { freePort } from "../test/support/ports.ts";
import { launchRollcall } from "../test/support/rollcall-process.ts";
import { silentLogger } from "../test/support/silent-logger.ts";
import { closeTestRun, temporaryDir, testRunDir } from "../test/support/test-run.ts";
import { waitFor } from "../test/support/wait-for.ts";
import { readOptions } from "./command-line.ts";
import { renderTable, spread, verdict, whole } from "./figures.ts";
import { runFileLoad } from "./measure.ts";
import { watchUsage } from "./process-usage.ts";
import { median } from "./statistics.ts";
import { ratioOf } from "./summary.ts";

/** Least share of the peer's throughput. */
const TARGET = 0.8;
const CONNECTIONS = 50;
/** Of each size; each request takes one of them at random. */
const FILES = 200;
const WARM_UP_SECONDS = 2;

/** A client that has the file asks by its ETag, and gets 304. */
const CASES = [
  { title: "60 KiB, which the client has", bytes: 61_440, isKnown: true },
  { title: "4 KiB", bytes: 4096, isKnown: false },
  { title: "60 KiB", bytes: 61_440, isKnown: false },
  { title: "300 KiB", bytes: 307_200, isKnown: false },
] as const;
type Case = (typeof CASES)[number];

interface Side {
  name: string;
  url: string;
  pid: number;
}

/** One run against one side. */
interface Sample {
  requestsPerSecond: number;
  /** Of its process. */
  cpuMicrosecondsPerRequest: number;
}

const options = readOptions({ rounds: 5, seconds: 6 });
const isComplete = process.argv.length === 2;

testRunDir();
const dataDir = temporaryDir("media");
const plainDir = join(dataDir, "plain");
const peerPort = await freePort();
const peer = spawn(
  process.execPath,
  [join(import.meta.dirname, "peers/static.ts"), plainDir, String(peerPort)],
  {
    stdio: "inherit",
    env: { ...process.env, NODE_ENV: "production" },
  },
);
const rollcall = launchRollcall({ env: { DATA_DIR: dataDir, NODE_ENV: "production", LOG_LEVEL: "warn" } });
try {
  await waitFor(() => rollcall.url, { description: "Rollcall to start", timeoutMs: 60_000 });
  const sides: [Side, Side] = [
    { name: "Rollcall", url: rollcall.url, pid: rollcall.pid },
    { name: "the peer", url: `http://127.0.0.1:${peerPort}`, pid: peer.pid ?? 0 },
  ];
  const load = loadavg()[0] ?? Number.NaN;
  const rows: string[][] = [];
  for (const measured of CASES) rows.push(await measure(measured, sides));
  const figures = [
    `- Date: ${new Date().toISOString().slice(0, 10)}\n- Machine: ${cpus().length} × ${cpus()[0]?.model.trim()}; load average before the start ${load.toFixed(1)}; Node ${process.version}`,
    renderTable(
      [
        "File",
        "Rollcall requests/s",
        "Peer requests/s",
        "Ratio (rounds)",
        "Target",
        "CPU µs/request, Rollcall / peer",
      ],
      rows,
    ),
  ].join("\n\n");
  console.log(figures);
  const title = `# Files of images, beside a bare static file server of Node\n\n${FILES} files of each size, ${CONNECTIONS} connections.`;
  if (isComplete) await writeFile(join(import.meta.dirname, "MEDIA.md"), `${title}\n\n${figures}\n`);
} finally {
  await rollcall.stop();
  peer.kill();
  await closeTestRun();
}

/** Puts the same bytes into the storage and, under the same paths, into the folder of the peer. */
async function storeFiles(bytes: number): Promise<string[]> {
  const storage = new DiskStorage({ root: join(dataDir, "images"), timeoutMs: 60_000, log: silentLogger });
  const paths: string[] = [];
  for (let index = 0; index < FILES; index += 1) {
    const hash = randomBytes(32).toString("hex");
    const file: MediaFile = { visibility: "public", hash, preset: "small", format: "webp" };
    const path = join(plainDir, mediaPath(file));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, randomBytes(bytes));
    await storage.put(mediaKey(file), { path, bytes, contentType: "image/webp" });
    paths.push(mediaPath(file));
  }
  storage.close();
  return paths;
}

/** Puts both sides under load in turns (A B, B A, …), after a warm-up. */
async function measure(measured: Case, [ours, theirs]: [Side, Side]): Promise<string[]> {
  const { title, bytes, isKnown } = measured;
  const paths = (await storeFiles(bytes)).slice(0, isKnown ? 1 : FILES);
  const samples = new Map<Side, Sample[]>([
    [ours, []],
    [theirs, []],
  ]);
  for (const side of [ours, theirs]) await run(side, paths, measured, WARM_UP_SECONDS);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const side of round % 2 === 0 ? [ours, theirs] : [theirs, ours]) {
      const sample = await run(side, paths, measured, options.seconds);
      samples.get(side)?.push(sample);
      console.error(`${title}: ${side.name} ${whole(sample.requestsPerSecond)} requests/s`);
    }
  }
  const [own = [], other = []] = samples.values();
  const ratio = ratioOf(own, other, ({ requestsPerSecond }) => requestsPerSecond);
  const speedOf = (side: Sample[]) => whole(median(side.map(({ requestsPerSecond }) => requestsPerSecond)));
  const cpuOf = (side: Sample[]) =>
    whole(median(side.map(({ cpuMicrosecondsPerRequest }) => cpuMicrosecondsPerRequest)));
  const target = `≥ ${TARGET}: ${verdict(ratio.median >= TARGET)}`;
  return [title, speedOf(own), speedOf(other), spread(ratio), target, `${cpuOf(own)} / ${cpuOf(other)}`];
}

async function run(side: Side, paths: string[], { bytes, isKnown }: Case, seconds: number): Promise<Sample> {
  const load = {
    baseUrl: side.url,
    paths,
    header: isKnown ? `If-None-Match: ${await tagOf(`${side.url}${paths[0]}`)}` : "",
    expected: isKnown ? { status: 304, bytes: 0 } : { status: 200, bytes },
    connections: CONNECTIONS,
    seconds,
  };
  const usageOf = watchUsage([side.pid]);
  const { requestsPerSecond, completed } = await runFileLoad(load);
  return { requestsPerSecond, cpuMicrosecondsPerRequest: (usageOf().cpuSeconds * 1e6) / completed };
}

async function tagOf(url: string): Promise<string> {
  const response = await fetch(url);
  await response.arrayBuffer();
  return response.headers.get("etag") ?? "";
}
