import { availableParallelism } from "node:os";
import { z } from "zod";
import { MEDIA_FORMATS, PRESET_NAME, type MediaFile, type MediaFormat } from "./media-path.ts";
import { baseUrlOf, listOf, milliseconds, originOf, wholeNumber } from "./setting-types.ts";

/*
 * The settings of images and of where their bytes are.
 */

/** A size in which images are served. */
export interface ImagePreset {
  readonly name: string;
  /** In pixels. */
  readonly width: number;
  readonly height: number;
  /** Whether the image fills the size and is cropped to it, or fits into it whole and is never made larger. */
  readonly fit: "cover" | "inside";
}

const PRESET = new RegExp(`^(${PRESET_NAME.source}):([1-9]\\d{0,3})(?:x([1-9]\\d{0,3}))?$`);
const MAX_PIXELS = 4096;
/** Each is made of every image in every format. */
const MAX_PRESETS = 16;

/** `thumb:64x64` is filled and cropped to, `small:256` is the longest side. */
const preset = z
  .string()
  .regex(
    PRESET,
    "must be presets such as thumb:64x64 or small:256, with names of a-z, 0-9 and - that begin with a letter",
  )
  .transform((text): ImagePreset => {
    const [, name = "", width, height] = PRESET.exec(text) ?? [];
    return {
      name,
      width: Number(width),
      height: Number(height ?? width),
      fit: height === undefined ? "inside" : "cover",
    };
  })
  .refine(
    ({ width, height }) => Math.max(width, height) <= MAX_PIXELS,
    `must not exceed ${MAX_PIXELS} pixels`,
  );

const presets = listOf(preset)
  .refine((list) => list.length > 0, "must name a preset")
  .refine((list) => list.length <= MAX_PRESETS, `must not name more than ${MAX_PRESETS} presets`)
  .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, "must name each preset once");

const formats = listOf(z.enum(MEDIA_FORMATS)).refine(
  (list: readonly MediaFormat[]) => list.includes("webp") || list.includes("jpeg"),
  "must have webp or jpeg among them, for clients that cannot show avif",
);

/** The one with the most pixels. */
export function largestPreset(all: readonly ImagePreset[]): ImagePreset {
  return all.reduce((largest, other) => (areaOf(other) > areaOf(largest) ? other : largest));
}

/** Whether images have such a file by these settings. */
export function isConfigured(
  { preset: name, format }: Pick<MediaFile, "preset" | "format">,
  settings: { IMAGE_PRESETS: readonly ImagePreset[]; IMAGE_FORMATS: readonly MediaFormat[] },
): boolean {
  return settings.IMAGE_PRESETS.some((each) => each.name === name) && settings.IMAGE_FORMATS.includes(format);
}

const areaOf = ({ width, height }: ImagePreset): number => width * height;

/** Leaves a core to everything else. */
const workersOfHost = (): string => String(Math.max(1, availableParallelism() - 1));

export const IMAGE_SETTINGS = {
  STORAGE: z
    .enum(["disk", "s3"])
    .default("disk")
    .describe(
      "Where the bytes of images are: in DATA_DIR/images, which api and images nodes must share (disk), or in a bucket (s3).",
    ),
  STORAGE_TIMEOUT_MS: milliseconds(100, 60_000)
    .prefault("3000")
    .describe(
      "A storage that has not answered, or has sent or taken no bytes, for this long counts as away.",
    ),
  S3_ENDPOINT: originOf.optional().describe("Origin of an S3-compatible storage. Unset: that of AWS."),
  S3_PUBLIC_ENDPOINT: originOf
    .optional()
    .describe("Origin under which clients reach the storage for direct uploads. Unset: S3_ENDPOINT."),
  S3_REGION: z.string().min(1).default("us-east-1").describe("Region of the bucket."),
  S3_BUCKET: z.string().min(3).max(63).optional().describe("The bucket. Required with STORAGE=s3."),
  S3_ACCESS_KEY_ID: z
    .string()
    .min(1)
    .optional()
    .describe("Access key. Unset: what AWS gives the machine, such as the role of a pod."),
  S3_SECRET_ACCESS_KEY: z.string().min(1).optional().describe("Its secret."),
  S3_PATH_STYLE: z
    .enum(["on", "off"])
    .default("off")
    .describe(
      "Whether the bucket is in the path of URLs (on) and not in the host name: what most servers other than AWS need.",
    ),
  CDN_BASE_URL: baseUrlOf
    .optional()
    .describe(
      "What URLs of public images begin with, such as https://cdn.example.com, which gets them from the gateway. Unset: they are paths of the gateway.",
    ),
  MEDIA_URL_TTL_SECONDS: wholeNumber(60, 604_800)
    .prefault("3600")
    .describe("For how long the URLs of private images can be used, at least."),
  IMAGE_PRESETS: presets
    .prefault("thumb:64x64,small:256,medium:640,large:1600")
    .describe(
      "Sizes of images in pixels, the same on every node: name:WIDTHxHEIGHT is cropped to, name:SIDE is the longest side. A size that changes needs another name: clients keep files for ever.",
    ),
  IMAGE_FORMATS: formats
    .prefault(MEDIA_FORMATS.join(","))
    .describe("Formats of images, the same on every node: avif, webp, jpeg."),
  IMAGE_UPLOADS_MAX: wholeNumber(1, 1000)
    .prefault("24")
    .describe(
      "Uploads that a gateway takes at the same time, each up to 10 MiB on its disk (TMPDIR); further ones are refused. The last sixth is for clients that have none under way.",
    ),
  IMAGE_WORKERS: wholeNumber(1, 128)
    .prefault(workersOfHost)
    .describe("Processes of an images node that work on images. Default: one for each core but one."),
  IMAGE_QUEUE_MAX: wholeNumber(0, 10_000)
    .prefault("32")
    .describe("Most images that wait for a worker of a node; further ones are refused with 503."),
  IMAGE_TIMEOUT_MS: milliseconds(1000, 300_000)
    .prefault("20000")
    .describe("Work on an image is given up after this time."),
};
