import { isAppError } from "../../broker/errors.ts";
import type { ImagePreset } from "../../lib/image-settings.ts";
import type { MediaFormat } from "../../lib/media-path.ts";
import type { ImageProcessor, PresetFile } from "./image-processor.ts";
import { inspectImage } from "./inspection/inspect-image.ts";
import { WorkerPool, type WorkerPoolOptions } from "./processing/worker-pool.ts";

/** Most memory that decoding one image takes: together with the rest of a node and one worker it stays below 512 MB. */
const DECODE_BYTES_MAX = 288 * 1024 ** 2;
/** Of the largest preset: what the files are made of, and what the encoder of AVIF takes. */
const ENCODE_BYTES_PER_PIXEL = 40;
const IDLE_MS = 60_000;

export interface ImageProcessorOptions extends Omit<WorkerPoolOptions, "memoryBytes" | "waitMs" | "idleMs"> {
  presets: readonly ImagePreset[];
  formats: readonly MediaFormat[];
  /** 288 MiB by default. */
  decodeBytesMax?: number;
  /** As long as work may take, by default. */
  waitMs?: number;
  /** One minute by default. */
  idleMs?: number;
}

/** Makes images with processes of its own, which it starts when there is something to do. Stop it when done. */
export function createImageProcessor({
  presets,
  formats,
  timeoutMs,
  waitMs = timeoutMs,
  decodeBytesMax = DECODE_BYTES_MAX,
  idleMs = IDLE_MS,
  ...options
}: ImageProcessorOptions): ImageProcessor {
  const encodeBytes =
    ENCODE_BYTES_PER_PIXEL * Math.max(...presets.map(({ width, height }) => width * height));
  // Enough for ordinary images on all workers, or for one that takes much.
  const memoryBytes = Math.max(decodeBytesMax, encodeBytes * options.workers);
  const pool = new WorkerPool({ ...options, timeoutMs, memoryBytes, waitMs, idleMs });

  async function make(
    source: string,
    folder: string,
    what: Pick<ImageProcessorOptions, "presets" | "formats">,
  ) {
    const { format, decodeBytes } = await inspectImage(source, decodeBytesMax).catch((error: unknown) => {
      if (isAppError(error)) pool.countRefused();
      throw error;
    });
    return pool.run({ source, folder, format, ...what }, Math.max(decodeBytes, encodeBytes));
  }

  return {
    process: (source, folder) => make(source, folder, { presets, formats }),
    async render(source, folder, what) {
      const preset = presets.find(({ name }) => name === what.preset);
      if (!preset) throw new Error(`There is no preset ${what.preset}.`);
      const { files } = await make(source, folder, { presets: [preset], formats: [what.format] });
      return files[0] as PresetFile;
    },
    usage: () => pool.usage(),
    stop: () => pool.stop(),
  };
}
