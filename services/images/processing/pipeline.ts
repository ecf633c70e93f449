import { readFile } from "node:fs/promises";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import { rgbaToThumbHash } from "thumbhash";
import type { ImagePreset } from "../../../lib/image-settings.ts";
import type { MediaFormat } from "../../../lib/media-path.ts";
import type { PresetFile, ProcessedImage, SourceFormat } from "../image-processor.ts";
import { MAX_PIXELS } from "../inspection/image-header.ts";
import { dominantColor } from "./dominant-color.ts";
import { masterSize, presetSize, type Size } from "./preset-sizes.ts";
import { mendScanHeader } from "./scan-header.ts";

/*
 * What a worker does with an image: decode it once, to the size of the largest preset, and make all files of that. Only
 * pixels get from the one half to the other, so nothing else that was in the image gets into the files.
 */

sharp.cache(false);
// Another image is worked on by another process.
sharp.concurrency(1);
// What the type was taken for is what it is read as: no other decoder can be reached, whatever the bytes are.
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({
  operation: [
    "VipsForeignLoadJpegFile",
    "VipsForeignLoadJpegBuffer",
    "VipsForeignLoadPngFile",
    "VipsForeignLoadWebpFile",
    "VipsForeignLoadHeifFile",
    "VipsForeignLoadNsgifFile",
  ],
});

/** Pixels in sRGB of 8 bits, upright. */
interface Pixels extends Size {
  data: Buffer;
  channels: 1 | 2 | 3 | 4;
}

/** An image that was decoded. */
export interface DecodedImage {
  format: SourceFormat;
  /** Of the upright image. */
  size: Size;
  /** The image at the size that the largest preset needs. */
  master: Pixels;
}

/** Longest side of what placeholders are computed from. */
const PLACEHOLDER_SIDE = 64;

const WHITE = "#ffffff";

/** Settings that cost little: five times the work makes the files a sixth smaller. */
const ENCODERS: Readonly<Record<MediaFormat, (image: Sharp) => Sharp>> = {
  avif: (image) => image.avif({ quality: 50, effort: 0, chromaSubsampling: "4:2:0" }),
  webp: (image) => image.webp({ quality: 80, effort: 2 }),
  jpeg: (image) => image.flatten({ background: WHITE }).jpeg({ quality: 80 }),
};

/** A fault that says nothing about the pixels. The decoder finds it before it decodes any. */
const WRONG_SCAN_HEADER = "Invalid SOS parameters for sequential JPEG";

/**
 * Decodes the first frame of an image.
 *
 * @throws {Error} when any of it is damaged: better no image than half of one
 */
export async function decodeImage(
  source: string,
  format: SourceFormat,
  presets: readonly ImagePreset[],
): Promise<DecodedImage> {
  try {
    return await decode(source, format, presets);
  } catch (error) {
    if (!(error as Error).message.includes(WRONG_SCAN_HEADER)) throw error;
    const jpeg = await readFile(source);
    mendScanHeader(jpeg);
    return decode(jpeg, format, presets);
  }
}

async function decode(
  source: string | Buffer,
  format: SourceFormat,
  presets: readonly ImagePreset[],
): Promise<DecodedImage> {
  const image = sharp(source, { autoOrient: true, failOn: "warning", limitInputPixels: MAX_PIXELS });
  const metadata = await image.metadata();
  const found = metadata.format === "heif" ? "avif" : metadata.format;
  if (found !== format) throw new Error(`The decoder takes a file of type ${format} for ${found}.`);
  const size = metadata.autoOrient;
  const target = masterSize(size, presets);
  // sharp turns 16 bits with a profile into Display P3, unless it is told which profile to use.
  if (metadata.depth === "ushort" && metadata.hasProfile) image.withIccProfile("srgb");
  const { data, info } = await image
    .resize({ ...target, fit: "fill" })
    .toColourspace("srgb")
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { format, size, master: { data, width: info.width, height: info.height, channels: info.channels } };
}

/** Makes a file of each preset in each format. */
export async function makeFiles(
  { format, size, master }: DecodedImage,
  folder: string,
  presets: readonly ImagePreset[],
  formats: readonly MediaFormat[],
): Promise<ProcessedImage> {
  const files: PresetFile[] = [];
  for (const preset of presets) {
    const pixels = await resize(master, presetSize(size, preset));
    for (const type of formats) {
      const path = join(folder, `${preset.name}.${type}`);
      const { size: bytes } = await ENCODERS[type](open(pixels)).toFile(path);
      files.push({ preset: preset.name, format: type, path, bytes });
    }
  }
  return { format, ...size, ...(await placeholders(master)), files };
}

/** Scales to a size, and crops evenly where the proportions differ. */
async function resize(pixels: Pixels, size: Size): Promise<Pixels> {
  if (pixels.width === size.width && pixels.height === size.height) return pixels;
  const { data, info } = await open(pixels)
    .resize({ ...size, fit: "cover" })
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}

async function placeholders(master: Pixels): Promise<Pick<ProcessedImage, "thumbhash" | "dominantColor">> {
  const { data, info } = await open(master)
    .resize({ width: PLACEHOLDER_SIDE, height: PLACEHOLDER_SIDE, fit: "inside", withoutEnlargement: true })
    .toColourspace("srgb")
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const thumbhash = Buffer.from(rgbaToThumbHash(info.width, info.height, data)).toString("base64");
  return { thumbhash, dominantColor: dominantColor(data) };
}

function open({ data, width, height, channels }: Pixels): Sharp {
  return sharp(data, { raw: { width, height, channels } });
}
