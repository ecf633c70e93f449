import type { ImagePreset } from "../../../lib/image-settings.ts";
import type { MediaFormat } from "../../../lib/media-path.ts";
import type { ProcessedImage, SourceFormat } from "../image-processor.ts";

/** What a worker is asked: to make files of an image. Paths only; no bytes go through the channel. */
export interface WorkerJob {
  source: string;
  format: SourceFormat;
  /** Exists; the files are put there. */
  folder: string;
  presets: readonly ImagePreset[];
  formats: readonly MediaFormat[];
}

/** What became of it: files; or the image could not be read; or it could, and something else went wrong. */
export type WorkerReply =
  | { kind: "done"; image: ProcessedImage }
  | { kind: "unreadable"; message: string }
  | { kind: "failed"; message: string };

/** The first that a worker says: it has loaded what it needs. */
export type WorkerMessage = WorkerReply | { kind: "ready" };
