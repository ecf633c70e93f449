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

/** A progressive JPEG of so many scans, of which each says nothing about the pixels. Decoders take them all. */
export function jpegOfScans(width: number, height: number, scans: number): Buffer {
  const head = jpegHeader(width, height, [0x11], true).subarray(0, -2);
  return Buffer.concat([head, Buffer.alloc((scans - 1) * 12, SCAN), Buffer.from([0xff, 0xd9])]);
}

/** Header and data of a scan. */
const SCAN = Buffer.concat([jpegSegment(0xda, Buffer.from([1, 1, 0, 1, 63, 0])), Buffer.from([0xff, 0])]);

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
  const properties = propertiesOf(width, height, bits);
  return Buffer.concat([fileType("avif", "mif1"), imageList({ properties, items: [] })]);
}

const propertiesOf = (width: number, height: number, bits = 0x0c): Buffer[] => [
  sizeProperty(width, height),
  box("av1C", Buffer.from([0x81, 0, bits, 0])),
];

const sizeProperty = (width: number, height: number): Buffer => box("ispe", uints(4, 0, width, height));

/** An image among those of an AVIF. */
interface AvifItem {
  type: string;
  /** Of its data in the file. */
  offset: number;
  bytes: number;
  /** By their place in the list of all, counted from 1. */
  properties: number[];
}

/**
 * An AVIF that says, of as many images as there is room for in a list of 64 KiB, that the data of each is in 65,535 places
 * and of no bytes. None of them is the one that is shown.
 */
export function avifOfManyPlaces(): Buffer {
  const place = uints(2, 2, 0, 0xffff);
  const images = Math.floor((65_536 - 8) / place.length);
  const places = Buffer.concat([
    uints(1, 0, 0),
    uints(2, images),
    Buffer.alloc(images * place.length, place),
  ]);
  const list = imageList({ properties: propertiesOf(9, 9), items: [], places });
  return Buffer.concat([fileType("avif", "mif1"), list]);
}

/** The box that tells of the images in an AVIF; the first is shown. @param places where their data is: the content of `iloc` */
function imageList({
  properties,
  items,
  tiles = [],
  places = placesOf(items),
}: {
  properties: Buffer[];
  items: AvifItem[];
  tiles?: number[];
  places?: Buffer;
}): Buffer {
  const ids = items.map((item, index) => ({ ...item, id: index + 1 }));
  const info = ids.map(({ id, type }) =>
    box("infe", uints(4, 0x02000000), uints(2, id, 0), Buffer.from(`${type}\0`)),
  );
  const uses = ids.map(({ id, properties: own }) =>
    Buffer.concat([uints(2, id), uints(1, own.length, ...own)]),
  );
  const references =
    tiles.length === 0 ? [] : [box("iref", uints(4, 0), box("dimg", uints(2, 1, tiles.length, ...tiles)))];
  return box(
    "meta",
    uints(4, 0),
    box("hdlr", uints(4, 0, 0), Buffer.from("pict"), Buffer.alloc(13)),
    box("pitm", uints(4, 0), uints(2, 1)),
    box("iloc", uints(4, 0), places),
    box("iinf", uints(4, 0), uints(2, items.length), ...info),
    ...references,
    box("iprp", box("ipco", ...properties), box("ipma", uints(4, 0, items.length), ...uses)),
  );
}

function placesOf(items: readonly AvifItem[]): Buffer {
  const places = items.map(({ offset, bytes }, index) =>
    Buffer.concat([uints(2, index + 1, 0, 1), uints(4, offset, bytes)]),
  );
  return Buffer.concat([uints(1, 0x44, 0), uints(2, items.length), ...places]);
}

/** An AVIF that shows a tile so many times beside itself. @param avif of libheif; its image is the tile */
export function avifGrid(
  avif: Buffer,
  { width, height }: { width: number; height: number },
  columns: number,
): Buffer {
  const content = (type: string): Buffer => {
    const at = avif.indexOf(type, 0, "latin1");
    return avif.subarray(at + 4, at - 4 + avif.readUInt32BE(at - 4));
  };
  const grid = Buffer.concat([uints(1, 0, 0, 0, columns - 1), uints(2, columns * width, height)]);
  const data = content("mdat");
  const properties = [
    box("av1C", content("av1C")),
    box("pixi", content("pixi")),
    sizeProperty(width, height),
    sizeProperty(columns * width, height),
  ];
  const tiles = Array.from({ length: columns }, (_, index) => index + 2);
  const list = (start: number): Buffer =>
    imageList({
      properties,
      items: [
        { type: "grid", offset: start, bytes: grid.length, properties: [4, 2] },
        ...tiles.map(() => ({
          type: "av01",
          offset: start + grid.length,
          bytes: data.length,
          properties: [1, 2, 3],
        })),
      ],
      tiles,
    });
  const start = fileType("avif", "mif1", "miaf");
  const dataStart = start.length + list(0).length + 8;
  return Buffer.concat([start, list(dataStart), box("mdat", grid, data)]);
}

/** Numbers of so many bytes each. */
function uints(size: number, ...numbers: number[]): Buffer {
  const buffer = Buffer.alloc(size * numbers.length);
  for (const [index, number] of numbers.entries()) buffer.writeUIntBE(number, index * size, size);
  return buffer;
}

/** The first box of a file that names what it is. */
export function fileType(major: string, ...compatible: string[]): Buffer {
  return box("ftyp", Buffer.from(`${major}\0\0\0\0${compatible.join("")}`, "latin1"));
}
