import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { beforeAll, describe, expect, it } from "@jest/globals";
import sharp, { type Sharp } from "sharp";

import { SOURCE_FORMATS, type SourceFormat } from "../../../../services/images/image-processor.ts";
import { inspectImage, type InspectedImage } from "../../../../services/images/inspection/inspect-image.ts";
import {
  avifGrid,
  avifHeader,
  avifOfManyPlaces,
  box,
  fileType,
  gifHeader,
  jpegHeader,
  jpegOfScans,
  jpegSegment,
  png,
  pngChunk,
  webp,
  webpExtended,
} from "../../../support/image-bytes.ts";
import { quarters } from "../../../support/images.ts";
import { temporaryDir } from "../../../support/test-run.ts";

/** The size of what the files of the tests show. */
const PICTURE = { width: 320, height: 240 };
const MEMORY_MAX = 300_000_000;
const UNSUPPORTED = { type: "UNSUPPORTED_IMAGE_TYPE", code: 415 };
const DAMAGED = { type: "IMAGE_UNREADABLE", code: 422 };
const TOO_LARGE = { type: "IMAGE_TOO_LARGE", code: 422 };

const SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/passwd"/></svg>';
const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");

const SCAN_OF_OTHERS = jpegSegment(0xda, Buffer.alloc(6));

/** An AVIF without pixels, and with lists of references that are made of these boxes, a thousand to a list. */
function withReferences(references: Buffer): Buffer {
  const lists = Array.from({ length: references.length / 8000 }, (_, index) =>
    box("iref", Buffer.alloc(4), references.subarray(index * 8000, (index + 1) * 8000)),
  );
  const bytes = Buffer.concat([avifHeader(9, 9), ...lists]);
  const meta = bytes.indexOf("meta") - 4;
  bytes.writeUInt32BE(bytes.length - meta, meta);
  return bytes;
}

/** One of each format, as an encoder makes it. */
const ENCODED: Readonly<Record<SourceFormat, (image: Sharp) => Sharp>> = {
  jpeg: (image) => image.jpeg(),
  png: (image) => image.png(),
  webp: (image) => image.webp(),
  avif: (image) => image.avif(),
  gif: (image) => image.gif(),
};

describe("the inspection of an image", () => {
  let folder = "";
  const files = {} as Record<SourceFormat, Buffer>;
  beforeAll(async () => {
    folder = temporaryDir("inspection");
    for (const format of SOURCE_FORMATS) files[format] = await ENCODED[format](quarters()).toBuffer();
  });

  let count = 0;
  async function inspect(bytes: Buffer, name = "image"): Promise<InspectedImage> {
    const path = join(folder, `${(count += 1)}-${name}`);
    await writeFile(path, bytes);
    return inspectImage(path, MEMORY_MAX);
  }

  it("finds out the type from the bytes, whatever the name says", async () => {
    for (const format of SOURCE_FORMATS) {
      expect(await inspect(files[format], "image.svg")).toMatchObject({ format });
    }
    expect(
      await inspect(
        await quarters()
          .gif()
          .toBuffer()
          .then((bytes) => Buffer.concat([latin1("GIF87a"), bytes.subarray(6)])),
      ),
    ).toMatchObject({ format: "gif" });
    expect(await inspect(await quarters(3, 3).webp({ lossless: true }).toBuffer())).toMatchObject({
      format: "webp",
    });
    const otherwiseNamed = Buffer.from(files.avif);
    otherwiseNamed.write("mif1", 8, "latin1");
    expect(await inspect(otherwiseNamed)).toMatchObject({ format: "avif" });
  });

  it.each([
    ["nothing", ""],
    ["a byte", "\xff"],
    ["text", "GIF or JPEG?"],
    ["an SVG", SVG],
    ["an SVG after a declaration", `<?xml version="1.0"?>\n<!-- GIF89a -->${SVG}`],
    ["an SVG after a byte order mark", `\xef\xbb\xbf${SVG}`],
    ["an SVG after spaces", `   \n${SVG}`],
    ["a compressed SVG", gzipSync(SVG).toString("latin1")],
    ["an SVG in a page", `<!doctype html><body>${SVG}`],
    ["a PDF", "%PDF-1.7\n"],
    ["PostScript", "%!PS-Adobe-3.0 EPSF-3.0\n"],
    ["a TIFF", "II*\0\b\0\0\0"],
    ["a TIFF of the other byte order", "MM\0*\0\0\0\b"],
    ["a BMP", `BM${"\0".repeat(60)}`],
    ["an ICO", `\0\0\x01\0\x01\0${"\0".repeat(60)}`],
    ["a JPEG XL", "\xff\x0a\xfa\x7f"],
    ["a JPEG 2000", "\0\0\0\x0cjP  \r\n\x87\n"],
    ["a ZIP", "PK\x03\x04"],
    ["a sound", "RIFF\x24\0\0\0WAVEfmt "],
    ["a PPM", "P6 1 1 255 abc"],
    ["a Radiance HDR", "#?RADIANCE\n"],
    ["a vips image", "\x08\xf2\xa6\xb6"],
    [
      "an animated AVIF, which the decoder does not take",
      fileType("avis", "avif", "msf1").toString("latin1"),
    ],
    ["a HEIC", fileType("heic", "mif1", "heic").toString("latin1")],
    ["a video", fileType("isom", "iso2", "mp41").toString("latin1")],
    [
      "a video whose version is called avif",
      fileType("isom", "mp41").toString("latin1").replace("\0\0\0\0", "avif"),
    ],
    ["a PNG after a byte", `\0\x89PNG\r\n\x1a\n`],
  ])("refuses %s", async (_, bytes) => {
    await expect(inspect(latin1(bytes), "image.png")).rejects.toMatchObject(UNSUPPORTED);
  });

  it.each([
    ["a JPEG", jpegHeader(65_500, 65_500, [0x22, 0x11, 0x11])],
    ["a PNG", png({ width: 100_000, height: 100_000 })],
    ["a PNG that is one line", png({ width: 2_147_483_647, height: 1 })],
    ["a PNG with a side of more than 65535 pixels", png({ width: 65_536, height: 1 })],
    ["a GIF", gifHeader(65_535, 65_535)],
    ["a WebP", webpExtended(16_383, 16_383)],
    ["a WebP of 281 terapixels", webpExtended(2 ** 24, 2 ** 24)],
    ["a lossless WebP", webp("VP8L", Buffer.from([0x2f, 0xff, 0xff, 0xff, 0x0f, 0]))],
    ["a lossy WebP", webp("VP8 ", Buffer.from([0, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f]))],
    ["an AVIF", avifHeader(65_536, 65_536)],
    ["an AVIF of the largest numbers", avifHeader(2 ** 32 - 1, 2 ** 32 - 1)],
  ])("refuses %s of too many pixels by its header", async (_, bytes) => {
    await expect(inspect(bytes)).rejects.toMatchObject(TOO_LARGE);
  });

  it("refuses what takes too much memory because of how it is stored, and says what would not", async () => {
    const [width, height] = [10_000, 5000];
    const cmyk = [0x11, 0x11, 0x11, 0x11];
    await expect(inspect(jpegHeader(width, height, cmyk, true))).rejects.toMatchObject({
      ...TOO_LARGE,
      message: "The image has 50 megapixels; an image of its kind may have 37.5.",
    });
    const deep = { width, height, bitDepth: 16, colorType: 6 };
    await expect(inspect(png({ ...deep, isInterlaced: true }))).rejects.toMatchObject(TOO_LARGE);
    await expect(inspect(avifHeader(width, height))).rejects.toMatchObject(TOO_LARGE);
    await expect(inspect(avifHeader(4000, 4000, 0x40))).rejects.toMatchObject(TOO_LARGE);
    expect(await inspect(jpegHeader(width, height, cmyk))).toMatchObject({ decodeBytes: 0 });
    expect(await inspect(png(deep))).toMatchObject({ decodeBytes: 160_000_000 });
    expect(await inspect(avifHeader(4000, 4000))).toMatchObject({ format: "avif" });
  });

  it("knows a lossless WebP also behind a colour profile", async () => {
    const bare = await quarters().webp({ lossless: true }).toBuffer();
    const withProfile = await quarters().withIccProfile("p3").webp({ lossless: true }).toBuffer();
    expect([bare, withProfile].map((bytes) => bytes.toString("latin1", 12, 16))).toEqual(["VP8L", "VP8X"]);
    const { decodeBytes } = await inspect(bare);
    expect(await inspect(withProfile)).toMatchObject({ decodeBytes });
    const lossy = await quarters().withIccProfile("p3").webp().toBuffer();
    expect(await inspect(lossy)).toMatchObject({ decodeBytes: 0 });
  });

  it("says of what has a few pixels too many that it has more than it may", async () => {
    await expect(inspect(png({ width: 10_000, height: 5001 }))).rejects.toMatchObject({
      message: "The image has 50.1 megapixels; an image of its kind may have 50.",
    });
  });

  it("refuses what has no pixels", async () => {
    for (const bytes of [
      jpegHeader(100, 0, [0x11]),
      png({ width: 0, height: 9 }),
      gifHeader(9, 0),
      avifHeader(0, 9),
    ]) {
      await expect(inspect(bytes)).rejects.toMatchObject(DAMAGED);
    }
  });

  it("does not mind bytes after the boxes of an AVIF that are too few to be one, as decoders do not", async () => {
    for (let length = 1; length < 8; length += 1) {
      const bytes = Buffer.concat([files.avif, Buffer.alloc(length, 0xff)]);
      expect(await inspect(bytes)).toMatchObject({ format: "avif" });
      const { info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
      expect(info).toMatchObject(PICTURE);
    }
  });

  it("refuses an AVIF that ends in the head of the box with its pixels", async () => {
    const head = files.avif.indexOf("mdat") - 4;
    for (let length = head; length <= head + 8; length += 1) {
      await expect(inspect(files.avif.subarray(0, length))).rejects.toMatchObject(DAMAGED);
    }
  });

  it("refuses an AVIF whose pixels are fewer than it says, and not one that shows them several times", async () => {
    const size = files.avif.indexOf("ispe") + 8;
    for (const [at, pixels] of [
      [size, 321],
      [size + 4, 241],
    ] as const) {
      const wrong = Buffer.from(files.avif);
      wrong.writeUInt32BE(pixels, at);
      await expect(inspect(wrong)).rejects.toMatchObject(DAMAGED);
    }
    const grid = avifGrid(files.avif, PICTURE, 3);
    expect(await inspect(grid)).toMatchObject({ format: "avif" });
    // What is accepted here can be decoded.
    expect(await sharp(grid).metadata()).toMatchObject({ width: 960, height: 240 });
    const { info } = await sharp(grid).raw().toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 960, height: 240 });
  });

  it("is not led astray by an AVIF whose places of data are numbers of any size", async () => {
    // After version and flags, a byte for the sizes of offsets and lengths and one for those of what they add up to.
    const sizes = files.avif.indexOf("iloc") + 8;
    for (const at of [sizes, sizes + 1]) {
      for (let value = 0; value < 256; value += 1) {
        const odd = Buffer.from(files.avif);
        odd.writeUInt8(value, at);
        // The offset: of 7 bytes and more, it is behind the end of every file.
        odd.fill(0xff, sizes + 14, sizes + 18);
        const refusal: unknown = await inspect(odd).then(
          () => DAMAGED,
          (error: unknown) => error,
        );
        expect({ value, refusal }).toMatchObject({ refusal: DAMAGED });
      }
    }
  });

  // A GIF and the end of a WebP are left to the decoder.
  it.each(["jpeg", "png", "webp", "avif"] as const)(
    "refuses a %s that is cut off anywhere",
    async (format) => {
      const bytes = files[format];
      const step = Math.ceil(bytes.length / 150);
      for (let length = 16; length < bytes.length; length += step) {
        await expect(inspect(bytes.subarray(0, length))).rejects.toMatchObject(DAMAGED);
      }
      await expect(inspect(bytes.subarray(0, -1))).rejects.toMatchObject(DAMAGED);
    },
  );

  it("refuses a PNG with any wrong bit", async () => {
    const bytes = files.png;
    for (let at = 8; at < bytes.length; at += Math.ceil(bytes.length / 150)) {
      const wrong = Buffer.from(bytes);
      wrong.writeUInt8(wrong.readUInt8(at) ^ 1, at);
      await expect(inspect(wrong)).rejects.toMatchObject({ code: 422 });
    }
  });

  it("refuses an AVIF that is put together of more pixels than any image may have", async () => {
    const tile = await quarters(1000, 1000).avif({ effort: 0 }).toBuffer();
    const size = { width: 1000, height: 1000 };
    expect(await inspect(avifGrid(tile, size, 12))).toMatchObject({ format: "avif" });
    const cropped = avifGrid(tile, size, 51);
    // Of the tiles in a row, the image is only the first.
    cropped.writeUInt32BE(1000, cropped.lastIndexOf("ispe") + 8);
    const message = "The image takes too much work to read.";
    await expect(inspect(cropped)).rejects.toMatchObject({ ...DAMAGED, message });
  });

  it("refuses what is small and takes long to decode: more scans or frames than encoders make", async () => {
    const progressive = await quarters().jpeg({ progressive: true }).toBuffer();
    const frame = webp("VP8 ", Buffer.alloc(10)).subarray(12);
    const frames = (number: number): Buffer =>
      Buffer.concat([webpExtended(9, 9, 0x02), Buffer.alloc(number * frame.length, frame)]);
    for (const bytes of [progressive, jpegOfScans(99, 99, 100), frames(4000)]) await inspect(bytes);
    for (const bytes of [jpegOfScans(99, 99, 101), frames(5001)]) {
      const message = "The image takes too much work to read.";
      await expect(inspect(bytes)).rejects.toMatchObject({ ...DAMAGED, message });
    }
    // What comes after the image, such as the film that some telephones add, has nothing to do with it.
    const withFilm = Buffer.concat([progressive, Buffer.alloc(100_000, SCAN_OF_OTHERS)]);
    expect(await inspect(withFilm)).toMatchObject({ format: "jpeg" });
  });

  it("takes no longer for an AVIF whose data is in many places, each of no bytes", async () => {
    expect(await inspect(avifOfManyPlaces())).toMatchObject({ format: "avif" });
  });

  it("reads past what is long, and not past what is endless", async () => {
    const comment = jpegSegment(0xfe, Buffer.alloc(65_533));
    const withComments = [
      files.jpeg.subarray(0, 2),
      ...Array.from({ length: 20 }, () => comment),
      files.jpeg.subarray(2),
    ];
    expect(await inspect(Buffer.concat(withComments))).toMatchObject({ format: "jpeg" });
    const filled = [files.jpeg.subarray(0, 2), Buffer.alloc(3, 0xff), files.jpeg.subarray(2)];
    expect(await inspect(Buffer.concat(filled))).toMatchObject({ format: "jpeg" });
    const endless = {
      segments: Buffer.concat([
        files.jpeg.subarray(0, 2),
        Buffer.alloc(10_000_000, jpegSegment(0xfe, Buffer.alloc(0))),
      ]),
      fill: Buffer.concat([files.jpeg.subarray(0, 2), Buffer.alloc(10_000_000, 0xff)]),
      chunks: png({ width: 9, height: 9 }, Buffer.alloc(10_000_000, pngChunk("tEXt", Buffer.alloc(0)))),
      boxes: Buffer.concat([fileType("avif"), Buffer.alloc(10_000_000, box("free"))]),
      boxesInBoxes: withReferences(Buffer.alloc(8_000_000, box("free"))),
      nothing: Buffer.concat([fileType("avif"), Buffer.alloc(8, "\0\0\0\0free", "latin1")]),
      tooSmallBox: Buffer.concat([fileType("avif"), Buffer.from("\0\0\0\x04meta", "latin1")]),
      hugeBox: Buffer.concat([
        fileType("avif"),
        Buffer.from("\0\0\0\x01meta\xff\xff\xff\xff\xff\xff\xff\xff", "latin1"),
      ]),
    };
    for (const [name, bytes] of Object.entries(endless)) {
      const error = await inspect(bytes).catch((thrown: unknown) => thrown);
      expect({ name, error }).toMatchObject({ error: DAMAGED });
    }
  });
});
