/**
 * `node bench/media.ts`: files of images through the gateway, beside a bare static file server of Node for the same
 * bytes. With options the figures are only printed, and not put on record in `MEDIA.md`:
 *
 *     node bench/media.ts --rounds 1 --seconds 5
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { pino } from "pino";

import { mediaKey, mediaPath, type MediaFile } from "../lib/media-path.ts";
import { DiskStorage } from "../lib/storage/disk.ts";
import { freePort } from "../test/support/ports.ts";
import { launchRollcall } from "../test/support/rollcall-process.ts";
import { closeTestRun, temporaryDir, testRunDir } from "../test/support/test-run.ts";
import { waitFor } from "../test/support/wait-for.ts";
import type { LoadResult } from "./load.ts";
import { runLoadGenerator } from "./measure.ts";
import { watchUsage } from "./process-usage.ts";

/** Least share of the peer's throughput. */
const TARGET = 0.8;
const CONNECTIONS = 50;
const FILES = 200;
const SIZES = { "4 KiB": 4096, "60 KiB": 61_440, "300 KiB": 307_200 };

interface Case {
  title: string;
  size: keyof typeof SIZES;
  isKnown: boolean;
}

const CASES: readonly Case[] = [
  { title: "client that has the file, 304", size: "60 KiB", isKnown: true },
  { title: "file of 4 KiB", size: "4 KiB", isKnown: false },
  { title: "file of 60 KiB", size: "60 KiB", isKnown: false },
  { title: "file of 300 KiB", size: "300 KiB", isKnown: false },
];

const { values: options } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "6" } },
});
const isComplete = process.argv.length === 2;

testRunDir();
const dataDir = temporaryDir("media");
const plainDir = join(dataDir, "plain");
const filesBySize = await storeFiles();
const peerPort = await freePort();
const peer = spawn(
  process.execPath,
  [join(import.meta.dirname, "peers/static.ts"), plainDir, String(peerPort)],
  {
    stdio: "inherit",
    env: { ...process.env, NODE_ENV: "production" },
  },
);
const rollcall = launchRollcall({
  env: { SERVICES: "all", DATA_DIR: dataDir, NODE_ENV: "production", LOG_LEVEL: "warn" },
});
try {
  await waitFor(() => rollcall.url, { description: "Rollcall to start", timeoutMs: 60_000 });
  const sides = { rollcall: rollcall.url, peer: `http://127.0.0.1:${peerPort}` };
  await waitFor(async () => (await fetch(`${sides.peer}/none`)).status === 404, {
    description: "the peer to listen",
  });
  const rows = [];
  for (const measured of CASES) rows.push(await measure(measured, sides));
  const figures = [
    "| what | Rollcall, requests/s | peer, requests/s | share, median (lowest–highest) | target |",
    "| --- | ---: | ---: | --- | --- |",
    ...rows,
  ].join("\n");
  console.log(figures);
  if (isComplete) {
    const title = "# Files of images, beside a bare static file server of Node";
    await writeFile(join(import.meta.dirname, "MEDIA.md"), `${title}\n\n${figures}\n`);
  }
} finally {
  await rollcall.stop();
  peer.kill();
  await closeTestRun();
}

/** Puts the same bytes into the storage and, under the same paths, into the folder of the peer. */
async function storeFiles(): Promise<Record<string, string[]>> {
  const storage = new DiskStorage({
    root: join(dataDir, "images"),
    timeoutMs: 60_000,
    log: pino({ level: "silent" }),
  });
  const paths: Record<string, string[]> = {};
  for (const [name, bytes] of Object.entries(SIZES)) {
    paths[name] = [];
    for (let index = 0; index < FILES; index += 1) {
      const hash = randomBytes(32).toString("hex");
      const file: MediaFile = { visibility: "public", hash, preset: "small", format: "webp" };
      const path = join(plainDir, mediaPath(file));
      mkdirSync(join(path, ".."), { recursive: true });
      writeFileSync(path, randomBytes(bytes));
      await storage.put(mediaKey(file), { path, bytes, contentType: "image/webp" });
      paths[name].push(mediaPath(file));
    }
  }
  storage.close();
  return paths;
}

async function measure(
  { title, size, isKnown }: Case,
  sides: Record<"rollcall" | "peer", string>,
): Promise<string> {
  const paths = isKnown ? (filesBySize[size] ?? []).slice(0, 1) : (filesBySize[size] ?? []);
  const run = async (baseUrl: string, seconds: number): Promise<LoadResult> => {
    const headers = isKnown ? { "if-none-match": await tagAt(`${baseUrl}${paths[0]}`) } : {};
    return runLoadGenerator({ baseUrl, paths, creates: false, headers, connections: CONNECTIONS, seconds });
  };
  await run(sides.rollcall, 2);
  await run(sides.peer, 2);
  const rounds: { rollcall: number; peer: number }[] = [];
  for (let round = 0; round < Number(options.rounds); round += 1) {
    const results = { rollcall: 0, peer: 0 };
    const turns = ["rollcall", "peer"] as const;
    for (const side of round % 2 === 0 ? turns : turns.toReversed()) {
      const usageOf = watchUsage([side === "peer" ? (peer.pid ?? 0) : rollcall.pid]);
      const { requestsPerSecond, completed, unexpected, failed } = await run(
        sides[side],
        Number(options.seconds),
      );
      const cpuMicroseconds = (usageOf().cpuSeconds * 1e6) / completed;
      const expected = isKnown ? "304" : "";
      if (failed > 0 || Object.keys(unexpected).join() !== expected) {
        throw new Error(`${side}, ${title}: ${failed} failed, ${JSON.stringify(unexpected)}`);
      }
      results[side] = requestsPerSecond;
      console.error(
        `${title}: ${side} ${Math.round(requestsPerSecond)} requests/s, ${Math.round(cpuMicroseconds)} µs of CPU each`,
      );
    }
    rounds.push(results);
  }
  const shares = rounds.map((each) => each.rollcall / each.peer).toSorted((a, b) => a - b);
  const middle = (values: number[]) =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
  const speed = (side: "rollcall" | "peer") =>
    Math.round(middle(rounds.map((each) => each[side]))).toLocaleString("en");
  const share = `${middle(shares).toFixed(2)} (${shares[0]?.toFixed(2)}–${shares.at(-1)?.toFixed(2)})`;
  const isMet = middle(shares) >= TARGET ? "met" : "**missed**";
  return `| ${title} | ${speed("rollcall")} | ${speed("peer")} | ${share} | ≥ ${TARGET}: ${isMet} |`;
}

async function tagAt(url: string): Promise<string> {
  const response = await fetch(url);
  await response.arrayBuffer();
  return response.headers.get("etag") ?? "";
}
