import type { FileBytes } from "./file-bytes.ts";
import { rowBytes, type ImageHeader } from "./image-header.ts";

/** A frame is decoded into pixels of 4 bytes. */
const BYTES_PER_PIXEL = 4;

/**
 * The header of a GIF (https://www.w3.org/Graphics/GIF/spec-gif89a.txt). Whether it is whole is left to the decoder, which
 * looks for all frames before it decodes the first.
 */
export async function readGifHeader(file: FileBytes): Promise<ImageHeader> {
  const screen = await file.at(6, 4);
  const [width, height] = [screen.readUInt16LE(0), screen.readUInt16LE(2)];
  return {
    width,
    height,
    decodeBytes: width * height * BYTES_PER_PIXEL + rowBytes(width, height, BYTES_PER_PIXEL),
    isWhole: () => Promise.resolve(true),
  };
}
