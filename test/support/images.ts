import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import type { ImagePreset } from "../../lib/image-settings.ts";
import { MEDIA_FORMATS, type MediaFormat } from "../../lib/media-path.ts";
import {
  createImageProcessor,
  type ImageProcessorOptions,
} from "../../services/images/create-image-processor.ts";
import type { ImageProcessor, ProcessedImage } from "../../services/images/image-processor.ts";
import { silentLogger } from "./silent-logger.ts";
import { temporaryDir } from "./test-run.ts";

/** Red, green, blue, alpha (0 to 255, where there is one). */
export type Color = readonly number[];

export const PRESETS: readonly ImagePreset[] = [
  { name: "thumb", width: 64, height: 64, fit: "cover" },
  { name: "small", width: 256, height: 256, fit: "inside" },
  { name: "medium", width: 640, height: 640, fit: "inside" },
  { name: "large", width: 1600, height: 1600, fit: "inside" },
];

/** Colours of the quarters of the test picture: top left, top right, bottom left, bottom right. */
export const QUARTERS: readonly Color[] = [
  [200, 60, 60],
  [60, 160, 60],
  [70, 70, 180],
  [235, 235, 235],
];

/** Pixels of 3 bytes of a picture that looks different however it is turned. */
export function quarterPixels(width: number, height: number): Buffer {
  const pixels = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const color = QUARTERS[(y < height / 2 ? 0 : 2) + (x < width / 2 ? 0 : 1)] as Color;
      pixels.set(color, (y * width + x) * 3);
    }
  }
  return pixels;
}

/** The test picture. */
export function quarters(width = 320, height = 240): Sharp {
  return sharp(quarterPixels(width, height), { raw: { width, height, channels: 3 } });
}

/** Something like a photograph: no two rows are alike, and it does not compress to nothing. */
export async function photo(width: number, height: number): Promise<Sharp> {
  const [across, down] = [Math.ceil(width / 40) + 1, Math.ceil(height / 40) + 1];
  const random = randomNumbers(1);
  const coarse = Buffer.from(Array.from({ length: across * down * 3 }, () => random(256)));
  const pixels = await sharp(coarse, { raw: { width: across, height: down, channels: 3 } })
    .resize({ width, height, fit: "fill", kernel: "cubic" })
    .raw()
    .toBuffer();
  return sharp(pixels, { raw: { width, height, channels: 3 }, limitInputPixels: false });
}

/** Whole numbers below a limit, the same ones for the same seed. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    // Mulberry32.
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** The colour of a pixel of a file, at fractions of its width and height. */
export async function colorAt(path: string, across: number, down: number): Promise<Color> {
  const { data, info } = await sharp(path).toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
  const x = Math.min(info.width - 1, Math.floor(info.width * across));
  const y = Math.min(info.height - 1, Math.floor(info.height * down));
  const at = (y * info.width + x) * info.channels;
  return [...data.subarray(at, at + info.channels)];
}

/** Colours of the middles of the four quarters of a file. */
export function quarterColors(path: string): Promise<Color[]> {
  const middles = [
    [0.25, 0.25],
    [0.75, 0.25],
    [0.25, 0.75],
    [0.75, 0.75],
  ] as const;
  return Promise.all(middles.map(([across, down]) => colorAt(path, across, down)));
}

/** By how much two colours, or two lists of colours, differ at most. */
export function difference(some: readonly Color[], others: readonly Color[]): number {
  return Math.max(
    ...some.flatMap((color, at) =>
      color.slice(0, 3).map((value, channel) => Math.abs(value - (others[at]?.[channel] ?? Infinity))),
    ),
  );
}

/** The file of a preset and format. */
export function pathOf(image: ProcessedImage, preset: string, format: MediaFormat): string {
  const file = image.files.find((candidate) => candidate.preset === preset && candidate.format === format);
  if (!file) throw new Error(`There is no ${preset}.${format}`);
  return file.path;
}

/** A processor of real processes; stop it when done. */
export function startImageProcessor(options: Partial<ImageProcessorOptions> = {}): ImageProcessor {
  return createImageProcessor({
    presets: PRESETS,
    formats: MEDIA_FORMATS,
    workers: 1,
    queueMax: 32,
    timeoutMs: 60_000,
    // A machine that is busy with other tests is no reason to refuse a job.
    waitMs: 60_000,
    log: silentLogger,
    ...options,
  });
}

/** Writes an image into a folder of its own and gives its path. */
export async function saved(image: Sharp, name: string): Promise<string> {
  const path = join(temporaryDir("image"), name);
  await image.toFile(path);
  return path;
}
