import type { FileBytes } from "./file-bytes.ts";
import type { ImageHeader } from "./image-header.ts";
import { damaged } from "./image-refusals.ts";

/* RFC 9649: a WebP is a RIFF file whose first chunk is VP8 (lossy), VP8L (lossless), or VP8X (flags and size). */

const FIRST_CHUNK = 12;
/** Of lossless pixels, transparency and animations, which are decoded as a whole. */
const BYTES_PER_PIXEL = 6;
const HAS_ALPHA_OR_ANIMATION = 0x12;
const VP8_START_CODE = 0x9d012a;
const VP8L_SIGNATURE = 0x2f;
/** Before its pixels a file has a colour profile at most, and what is not known. */
const MAX_CHUNKS = 100;

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
    const data = await file.at(start, 10);
    return {
      width: data.readUIntLE(4, 3) + 1,
      height: data.readUIntLE(7, 3) + 1,
      isHeldWhole: (data.readUInt8(0) & HAS_ALPHA_OR_ANIMATION) !== 0 || (await isLossless(file)),
    };
  }
  throw damaged();
}

/** Whether the pixels are lossless of a file that begins with VP8X. Of one that has none, the decoder finds out. */
async function isLossless(file: FileBytes): Promise<boolean> {
  let offset = FIRST_CHUNK;
  for (let count = 0; count < MAX_CHUNKS && offset + 8 <= file.size; count += 1) {
    const head = await file.at(offset, 8);
    const type = head.toString("latin1", 0, 4);
    if (type === "VP8L" || type === "VP8 ") return type === "VP8L";
    const length = head.readUInt32LE(4);
    offset += 8 + length + (length % 2);
  }
  return false;
}
