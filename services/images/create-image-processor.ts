import type { ImagePreset } from "../../lib/image-settings.ts";
import type { MediaFormat } from "../../lib/media-path.ts";
import type { ImageProcessor } from "./image-processor.ts";
import { inspectImage } from "./inspection/inspect-image.ts";
import { WorkerPool, type WorkerPoolOptions } from "./processing/worker-pool.ts";

const MEBIBYTE = 1024 ** 2;

/** The most that decoding takes at a time: together with the rest of a node and one worker it stays below 512 MB. */
const DECODE_BYTES_MAX = 288 * MEBIBYTE;
const WAIT_MS = 10_000;
const IDLE_MS = 60_000;

export interface ImageProcessorOptions extends Omit<
  WorkerPoolOptions,
  "decodeBytesMax" | "waitMs" | "idleMs"
> {
  presets: readonly ImagePreset[];
  formats: readonly MediaFormat[];
  /** 288 MiB by default. */
  decodeBytesMax?: number;
  /** 10 s by default. */
  waitMs?: number;
  /** One minute by default. */
  idleMs?: number;
}

/** Makes images with processes of its own, which it starts when there is something to do. Stop it when done. */
export function createImageProcessor({
  presets,
  formats,
  ...options
}: ImageProcessorOptions): ImageProcessor {
  const limits = { decodeBytesMax: DECODE_BYTES_MAX, waitMs: WAIT_MS, idleMs: IDLE_MS, ...options };
  const pool = new WorkerPool(limits);

  async function make(
    source: string,
    folder: string,
    what: Pick<ImageProcessorOptions, "presets" | "formats">,
  ) {
    const { format, decodeBytes } = await inspectImage(source, limits.decodeBytesMax).catch(
      (error: unknown) => {
        pool.countRefused();
        throw error;
      },
    );
    return pool.run({ source, folder, format, ...what }, decodeBytes);
  }

  return {
    process: (source, folder) => make(source, folder, { presets, formats }),
    async render(source, folder, what) {
      const preset = presets.filter(({ name }) => name === what.preset);
      const { files } = await make(source, folder, { presets: preset, formats: [what.format] });
      const [file] = files;
      if (!file) throw new Error(`There is no preset ${what.preset}.`);
      return file;
    },
    usage: () => pool.usage(),
    stop: () => pool.stop(),
  };
}
