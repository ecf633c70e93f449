import { crc32 } from "node:zlib";
import { WINDOW_BYTES, type FileBytes } from "./file-bytes.ts";
import { rowBytes, type ImageHeader } from "./image-header.ts";
import { damaged } from "./image-refusals.ts";

/* https://www.w3.org/TR/png-3/: a PNG is a list of chunks of length, type, data and checksum, of which the last is IEND. */

const FIRST_CHUNK = 8;
/** Length, type and checksum. */
const CHUNK_OVERHEAD_BYTES = 12;
/** Samples of each pixel, by colour type. A palette becomes colours, which may be transparent. */
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 4, 4: 2, 6: 4 };

/** The header of a PNG. An interlaced one is kept in memory as a whole. */
export async function readPngHeader(file: FileBytes): Promise<ImageHeader> {
  const chunk = await file.at(FIRST_CHUNK, 21);
  const isHeader = chunk.readUInt32BE(0) === 13 && chunk.toString("latin1", 4, 8) === "IHDR";
  const channels = CHANNELS[chunk.readUInt8(17)];
  if (!isHeader || channels === undefined) throw damaged();
  const [width, height] = [chunk.readUInt32BE(8), chunk.readUInt32BE(12)];
  const bytesPerPixel = channels * (chunk.readUInt8(16) > 8 ? 2 : 1);
  const isInterlaced = chunk.readUInt8(20) !== 0;
  return {
    width,
    height,
    decodeBytes: (isInterlaced ? width * height * bytesPerPixel : 0) + rowBytes(width, height, bytesPerPixel),
    isWhole: () => areChunksWhole(file),
  };
}

async function areChunksWhole(file: FileBytes): Promise<boolean> {
  let offset = FIRST_CHUNK;
  for (;;) {
    const head = await file.at(offset, 8);
    const length = head.readUInt32BE(0);
    const type = head.toString("latin1", 4, 8);
    const end = offset + CHUNK_OVERHEAD_BYTES + length;
    if (end > file.size || !(await isChecksumRight(file, offset + 4, end - 4))) return false;
    if (type === "IEND") return true;
    offset = end;
  }
}

/** Whether the bytes from `start` to `end` have the checksum that follows them. */
async function isChecksumRight(file: FileBytes, start: number, end: number): Promise<boolean> {
  let checksum = 0;
  for (let offset = start; offset < end; offset += WINDOW_BYTES) {
    checksum = crc32(await file.at(offset, Math.min(WINDOW_BYTES, end - offset)), checksum);
  }
  return checksum === (await file.at(end, 4)).readUInt32BE();
}
