import { crc32, deflateSync } from "node:zlib";

/*
 * Images that are made by hand, byte by byte: those that no encoder makes.
 */

const PNG_SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

/** What the first chunk of a PNG says. */
export interface PngHeader {
  width: number;
  height: number;
  bitDepth?: number;
  /** 0 grey, 2 colours, 3 palette, 4 grey with alpha, 6 colours with alpha. */
  colorType?: number;
  isInterlaced?: boolean;
}

/** A PNG of any chunks after the header, and IEND. */
export function png(header: PngHeader, ...chunks: Buffer[]): Buffer {
  const { width, height, bitDepth = 8, colorType = 2, isInterlaced = false } = header;
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([bitDepth, colorType, 0, 0, isInterlaced ? 1 : 0], 8);
  return Buffer.concat([PNG_SIGNATURE, pngChunk("IHDR", data), ...chunks, pngChunk("IEND", Buffer.alloc(0))]);
}

export function pngChunk(type: string, data: Buffer): Buffer {
  const chunk = Buffer.alloc(data.length + 12);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(type, 4, "latin1");
  data.copy(chunk, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), chunk.length - 4);
  return chunk;
}

/** Compressed zeros: a thousandth of what they become. */
export function compressedZeros(bytes: number): Buffer {
  return deflateSync(Buffer.alloc(bytes), { level: 9 });
}

/** A JPEG that ends where its pixels should begin. @param components sampling factors, `0x11` or `0x22`, of each */
export function jpegHeader(
  width: number,
  height: number,
  components: readonly number[],
  isProgressive = false,
): Buffer {
  const frame = Buffer.alloc(6);
  frame.writeUInt8(8, 0);
  frame.writeUInt16BE(height, 1);
  frame.writeUInt16BE(width, 3);
  frame.writeUInt8(components.length, 5);
  const factors = Buffer.from(components.flatMap((factor, index) => [index + 1, factor, 0]));
  const scan = Buffer.from([
    components.length,
    ...components.flatMap((_, index) => [index + 1, 0]),
    0,
    63,
    0,
  ]);
  return Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    jpegSegment(isProgressive ? 0xc2 : 0xc0, Buffer.concat([frame, factors])),
    jpegSegment(0xda, scan),
    Buffer.from([0xff, 0xd9]),
  ]);
}

export function jpegSegment(marker: number, content: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(content.length + 2, 2);
  return Buffer.concat([head, content]);
}

/** A GIF of the size alone. */
export function gifHeader(width: number, height: number): Buffer {
  const bytes = Buffer.from("GIF89a\0\0\0\0\0\0\0;", "latin1");
  bytes.writeUInt16LE(width, 6);
  bytes.writeUInt16LE(height, 8);
  return bytes;
}

/** A WebP of one chunk. */
export function webp(type: string, data: Buffer): Buffer {
  const padding = Buffer.alloc(data.length % 2);
  const head = Buffer.from(`RIFF\0\0\0\0WEBP${type}\0\0\0\0`, "latin1");
  head.writeUInt32LE(data.length, 16);
  head.writeUInt32LE(12 + data.length + padding.length, 4);
  return Buffer.concat([head, data, padding]);
}

/** The first chunk of a WebP with flags: 0x10 has alpha, 0x02 is animated. */
export function webpExtended(width: number, height: number, flags = 0): Buffer {
  const data = Buffer.alloc(10);
  data.writeUInt8(flags, 0);
  data.writeUIntLE(width - 1, 4, 3);
  data.writeUIntLE(height - 1, 7, 3);
  return webp("VP8X", data);
}

/** A box of ISO/IEC 14496-12. */
export function box(type: string, ...content: Buffer[]): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(
    content.reduce((sum, { length }) => sum + length, 8),
    0,
  );
  head.write(type, 4, "latin1");
  return Buffer.concat([head, ...content]);
}

/** An AVIF without pixels. @param bits third byte of av1C: 0x0c is 8 bits and half the colours, 0x40 more bits */
export function avifHeader(width: number, height: number, bits = 0x0c): Buffer {
  const size = Buffer.alloc(12);
  size.writeUInt32BE(width, 4);
  size.writeUInt32BE(height, 8);
  const properties = box("ipco", box("ispe", size), box("av1C", Buffer.from([0x81, 0, bits, 0])));
  return Buffer.concat([fileType("avif", "mif1"), box("meta", Buffer.alloc(4), box("iprp", properties))]);
}

/** The first box of a file that names what it is. */
export function fileType(major: string, ...compatible: string[]): Buffer {
  return box("ftyp", Buffer.from(`${major}\0\0\0\0${compatible.join("")}`, "latin1"));
}
