import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import sharp, { type Sharp } from "sharp";

import { saved } from "../support/images.ts";

const MEBIBYTE = 1024 ** 2;
/** A node with nothing but images takes 50 MiB more than the program of this test, and may take 512 MB. */
const MEMORY_MAX = 512_000_000 - 50 * MEBIBYTE;
const SAMPLE_INTERVAL_MS = 20;

/** The largest images that are accepted, of kinds that take much memory. What they show does not matter to decoders. */
const LARGEST: Readonly<Record<string, () => Sharp>> = {
  "progressive.jpg": () => plain(10_000, 5000).jpeg({ progressive: true, chromaSubsampling: "4:4:4" }),
  "deep.png": () => plain(10_000, 5000).ensureAlpha(0.5).toColourspace("rgb16").png({ compressionLevel: 1 }),
  "interlaced.png": () =>
    plain(10_000, 5000).ensureAlpha(0.5).png({ progressive: true, compressionLevel: 1 }),
  "lossless.webp": () => plain(10_000, 5000).ensureAlpha(0.5).webp({ lossless: true, effort: 0 }),
  "palette.gif": () => plain(10_000, 5000).gif({ effort: 1 }),
  "8-bit.avif": () => plain(5500, 3200).avif({ effort: 0, chromaSubsampling: "4:2:0" }),
  "10-bit.avif": () => plain(4000, 2600).avif({ effort: 0, bitdepth: 10 }),
};

describe("the memory of an image processor and its worker", () => {
  const sources: string[] = [];
  let program: ReturnType<typeof startProgram>;
  beforeAll(async () => {
    for (const [name, image] of Object.entries(LARGEST)) sources.push(await saved(image(), name));
    program = startProgram(sources);
  }, 240_000);
  afterAll(() => {
    program.kill("SIGKILL");
  });

  it("has a bound that the largest images of each kind do not exceed", async () => {
    const peaks: Record<string, number> = {};
    let name = Object.keys(LARGEST)[0] ?? "";
    const sampling = setInterval(() => {
      peaks[name] = Math.max(peaks[name] ?? 0, memoryOf(program.pid ?? 0));
    }, SAMPLE_INTERVAL_MS);
    try {
      const outcomes: string[] = [];
      for await (const outcome of createInterface({ input: program.stdout })) {
        name = Object.keys(LARGEST)[outcomes.push(outcome)] ?? "";
        if (outcomes.length === sources.length) break;
      }
      expect(outcomes).toEqual(sources.map(() => "done"));
    } finally {
      clearInterval(sampling);
    }
    expect(Object.entries(peaks).filter(([, bytes]) => bytes > MEMORY_MAX)).toEqual([]);
    // They do take much, or nothing was measured.
    expect(peaks["palette.gif"]).toBeGreaterThan(300 * MEBIBYTE);
  }, 240_000);
});

function plain(width: number, height: number): Sharp {
  return sharp({ create: { width, height, channels: 3, background: "#3c6e9f" } });
}

function startProgram(sources: readonly string[]) {
  const program = join(import.meta.dirname, "../support/image-program.ts");
  return spawn(process.execPath, [program, ...sources], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Of a process and its children; what they share counts once. */
function memoryOf(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ").map(Number);
  return [pid, ...children].reduce((sum, each) => sum + proportionalBytes(each), 0);
}

function proportionalBytes(pid: number): number {
  try {
    const kilobytes = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
    return Number(kilobytes) * 1024;
  } catch {
    // It has ended meanwhile.
    return 0;
  }
}
