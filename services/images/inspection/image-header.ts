import type { FileBytes } from "./file-bytes.ts";

/** Most pixels of an image. */
export const MAX_PIXELS = 50_000_000;

/** What the first bytes of an image say, before anything of it is decoded. */
export interface ImageHeader {
  /** As stored: not turned upright. */
  width: number;
  height: number;
  /** About how much memory decoding takes; measured with images of 50 megapixels. */
  decodeBytes: number;
  /**
   * Whether the file has all its parts, as far as that can be seen without decoding them.
   *
   * @throws IMAGE_UNREADABLE also for parts that are so many that decoding them takes too long
   */
  isWhole(): Promise<boolean>;
}

/** Reads the header of one format. @throws IMAGE_UNREADABLE */
export type HeaderReader = (file: FileBytes) => Promise<ImageHeader>;

/** Rows that the decoder and the resizing after it hold at a time. */
const ROWS_IN_MEMORY = 2000;

/** Memory of the rows that are held while an image is made smaller, for what cannot be decoded at a smaller size. */
export function rowBytes(width: number, height: number, bytesPerPixel: number): number {
  return width * bytesPerPixel * Math.min(height, ROWS_IN_MEMORY);
}
