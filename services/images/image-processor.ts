import type { MediaFormat } from "../../lib/media-path.ts";

/** Types that are accepted, found out from the bytes. Of an animation the first frame is taken. */
export const SOURCE_FORMATS = ["jpeg", "png", "webp", "avif", "gif"] as const;
export type SourceFormat = (typeof SOURCE_FORMATS)[number];

/** A file that was made from an image, on the disk of this node. */
export interface PresetFile {
  preset: string;
  format: MediaFormat;
  path: string;
  bytes: number;
}

/** What became of an uploaded image. */
export interface ProcessedImage {
  format: SourceFormat;
  /** Of the upright image, in pixels. */
  width: number;
  height: number;
  /** Base64. https://evanw.github.io/thumbhash/ */
  thumbhash: string;
  /** `#rrggbb`. */
  dominantColor: string;
  files: PresetFile[];
}

/** What an image processor is doing, and what it did since it was made. */
export interface ImageProcessorUsage {
  /** Processes that run, whether they work or not. */
  workers: number;
  running: number;
  waiting: number;
  /** Jobs by how they ended: images made, refused for what they are, or for too many that wait; and own failures. */
  outcomes: Readonly<Record<"done" | "refused" | "overloaded" | "failed", number>>;
  /** Time that workers have spent on jobs. */
  workSeconds: number;
  /** Workers that ended by themselves or had to be ended within a job. */
  workersLost: number;
}

/**
 * Makes presets from images, a bounded number at a time and with bounded work for each.
 *
 * @throws UNSUPPORTED_IMAGE_TYPE, IMAGE_UNREADABLE, IMAGE_TOO_LARGE for what cannot be made an image; OVERLOADED when
 *   too many wait already
 */
export interface ImageProcessor {
  /** Makes every configured preset in every configured format. @param folder exists; the files are put there */
  process(source: string, folder: string): Promise<ProcessedImage>;
  /** Makes one file: of a preset that was configured after the image came. */
  render(source: string, folder: string, what: { preset: string; format: MediaFormat }): Promise<PresetFile>;
  usage(): ImageProcessorUsage;
  /** Ends what runs; the calls fail. */
  stop(): Promise<void>;
}
