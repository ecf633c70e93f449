import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import sharp, { type Sharp } from "sharp";

import { saved } from "../support/images.ts";
import { watchMemory } from "../support/process-memory.ts";

const MEBIBYTE = 1024 ** 2;
/** A node with nothing but images takes 50 MiB more than the program of this test, and may take 512 MB. */
const MEMORY_MAX = 512_000_000 - 50 * MEBIBYTE;

/** The largest images that are accepted, of kinds that take much memory. What they show does not matter to decoders. */
const LARGEST: Readonly<Record<string, () => Sharp>> = {
  "progressive.jpg": () => plain(10_000, 5000).jpeg({ progressive: true, chromaSubsampling: "4:4:4" }),
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
    const outcomes: string[] = [];
    let peakOf = watchMemory(program.pid ?? 0);
    for await (const outcome of createInterface({ input: program.stdout })) {
      peaks[Object.keys(LARGEST)[outcomes.length] ?? ""] = peakOf();
      if (outcomes.push(outcome) === sources.length) break;
      peakOf = watchMemory(program.pid ?? 0);
    }
    expect(outcomes).toEqual(sources.map(() => "done"));
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
