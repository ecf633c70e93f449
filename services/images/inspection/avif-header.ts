import type { FileBytes } from "./file-bytes.ts";
import { rowBytes, type ImageHeader } from "./image-header.ts";
import { damaged } from "./image-refusals.ts";

/*
 * ISO/IEC 14496-12: an AVIF is a list of boxes, each with its size and type. What is known of its images without
 * decoding them is below meta, iprp, ipco: their sizes (ispe) and how they are coded (av1C).
 */

const MAX_BOXES = 2000;
/** What the AV1 decoder takes for each pixel of 8 bits, of 8 bits in full colour or transparent, and of more bits. */
const BYTES_PER_PIXEL = { plain: 15, rich: 18, deep: 23 };
const BITS_HIGH = 0x40;
const BITS_SUBSAMPLED = 0x0c;

interface Box {
  type: string;
  /** Of its content. */
  start: number;
  end: number;
}

/** The header of an AVIF. The largest image in it counts: a tile or a thumbnail is no larger. */
export async function readAvifHeader(file: FileBytes): Promise<ImageHeader> {
  const sizes: { width: number; height: number }[] = [];
  const codings: number[] = [];
  for await (const box of await properties(file)) {
    if (box.type === "ispe") {
      const size = await file.at(box.start + 4, 8);
      sizes.push({ width: size.readUInt32BE(0), height: size.readUInt32BE(4) });
    }
    if (box.type === "av1C") codings.push((await file.at(box.start + 2, 1)).readUInt8());
  }
  const [largest] = sizes.toSorted((a, b) => b.width * b.height - a.width * a.height);
  if (!largest || codings.length === 0) throw damaged();
  const { width, height } = largest;
  const isDeep = codings.some((bits) => (bits & BITS_HIGH) !== 0);
  const isPlain =
    codings.length === 1 && codings.every((bits) => (bits & BITS_SUBSAMPLED) === BITS_SUBSAMPLED);
  const perPixel = BYTES_PER_PIXEL[isDeep ? "deep" : isPlain ? "plain" : "rich"];
  return {
    width,
    height,
    decodeBytes: width * height * perPixel + rowBytes(width, height, isDeep ? 6 : 3),
    isWhole: async () => {
      // A box that ends behind the end of the file throws.
      for await (const _ of boxes(file, 0, file.size));
      return true;
    },
  };
}

async function properties(file: FileBytes): Promise<AsyncGenerator<Box>> {
  const meta = await find(boxes(file, 0, file.size), "meta");
  // Version and flags come before the boxes in meta.
  const iprp = await find(boxes(file, meta.start + 4, meta.end), "iprp");
  const ipco = await find(boxes(file, iprp.start, iprp.end), "ipco");
  return boxes(file, ipco.start, ipco.end);
}

async function find(among: AsyncGenerator<Box>, type: string): Promise<Box> {
  for await (const box of among) if (box.type === type) return box;
  throw damaged();
}

async function* boxes(file: FileBytes, start: number, end: number): AsyncGenerator<Box> {
  let offset = start;
  for (let count = 0; offset < end; count += 1) {
    const head = await file.at(offset, 8);
    const type = head.toString("latin1", 4, 8);
    const size = head.readUInt32BE(0);
    // 0: up to the end; 1: the size has 64 bits and follows.
    const hasLongSize = size === 1;
    const length = hasLongSize
      ? Number((await file.at(offset + 8, 8)).readBigUInt64BE())
      : size || end - offset;
    const headBytes = hasLongSize ? 16 : 8;
    if (length < headBytes || offset + length > end || count === MAX_BOXES) throw damaged();
    yield { type, start: offset + headBytes, end: offset + length };
    offset += length;
  }
}
