import type { FileBytes } from "./file-bytes.ts";
import type { ImageHeader } from "./image-header.ts";
import { damaged, tooMuchWork } from "./image-refusals.ts";

/* RFC 9649: a WebP is a RIFF file whose first chunk is VP8 (lossy), VP8L (lossless), or VP8X (flags and size). */

const FIRST_CHUNK = 12;
/** Of lossless pixels, transparency and animations, which are decoded as a whole. */
const BYTES_PER_PIXEL = 6;
const HAS_ALPHA_OR_ANIMATION = 0x12;
const VP8_START_CODE = 0x9d012a;
const VP8L_SIGNATURE = 0x2f;
/** A frame of an animation is one. To find them all, the decoder takes time that grows with the square of their number. */
const MAX_CHUNKS = 5000;

/** The header of a WebP. Lossy ones are decoded at a smaller size. */
export async function readWebpHeader(file: FileBytes): Promise<ImageHeader> {
  const type = (await file.at(FIRST_CHUNK, 4)).toString("latin1");
  const { width, height, isHeldWhole } = await readFirstChunk(file, type, FIRST_CHUNK + 8);
  return {
    width,
    height,
    decodeBytes: isHeldWhole ? width * height * BYTES_PER_PIXEL : 0,
    isWhole: async () => (await file.at(4, 4)).readUInt32LE() + 8 <= file.size,
  };
}

async function readFirstChunk(
  file: FileBytes,
  type: string,
  start: number,
): Promise<{ width: number; height: number; isHeldWhole: boolean }> {
  if (type === "VP8 ") {
    const data = await file.at(start, 10);
    if (data.readUIntBE(3, 3) !== VP8_START_CODE) throw damaged();
    return {
      width: data.readUInt16LE(6) & 0x3fff,
      height: data.readUInt16LE(8) & 0x3fff,
      isHeldWhole: false,
    };
  }
  if (type === "VP8L") {
    const data = await file.at(start, 5);
    if (data[0] !== VP8L_SIGNATURE) throw damaged();
    const bits = data.readUInt32LE(1);
    return { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1, isHeldWhole: true };
  }
  if (type === "VP8X") {
    const isLossless = await hasChunk(file, "VP8L");
    const data = await file.at(start, 10);
    return {
      width: data.readUIntLE(4, 3) + 1,
      height: data.readUIntLE(7, 3) + 1,
      isHeldWhole: isLossless || (data.readUInt8(0) & HAS_ALPHA_OR_ANIMATION) !== 0,
    };
  }
  throw damaged();
}

/** Whether a chunk of this type is among those of a file. @throws IMAGE_UNREADABLE for one of very many chunks */
async function hasChunk(file: FileBytes, wanted: string): Promise<boolean> {
  let isThere = false;
  let offset = FIRST_CHUNK;
  for (let count = 0; offset + 8 <= file.size; count += 1) {
    if (count === MAX_CHUNKS) throw tooMuchWork();
    const head = await file.at(offset, 8);
    isThere ||= head.toString("latin1", 0, 4) === wanted;
    const length = head.readUInt32LE(4);
    offset += 8 + length + (length % 2);
  }
  return isThere;
}
