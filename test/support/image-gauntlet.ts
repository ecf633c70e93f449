import { readFile } from "node:fs/promises";
import { deflateSync } from "node:zlib";

import sharp, { type Sharp } from "sharp";

import type { SourceFormat } from "../../services/images/image-processor.ts";
import {
  avifOfManyPlaces,
  compressedZeros,
  gifHeader,
  jpegSegment,
  png,
  pngChunk,
  webp,
  webpExtended,
} from "./image-bytes.ts";
import { photo, quarters } from "./images.ts";

/** A file that means harm, or looks like it. */
export interface Attack {
  name: string;
  bytes: Buffer;
  /** What may become of it: an image of this size, or a refusal with 4xx. */
  becomes: { width: number; height: number } | "refusal" | "either";
}

/** Ways to store an image that have little in common in their decoders. */
export const ENCODINGS: Readonly<Record<string, { format: SourceFormat; encode: (image: Sharp) => Sharp }>> =
  {
    "baseline JPEG": { format: "jpeg", encode: (image) => image.jpeg() },
    "progressive JPEG": { format: "jpeg", encode: (image) => image.jpeg({ progressive: true }) },
    PNG: { format: "png", encode: (image) => image.png() },
    "interlaced PNG": { format: "png", encode: (image) => image.png({ progressive: true }) },
    "lossy WebP": { format: "webp", encode: (image) => image.webp() },
    "lossless WebP": { format: "webp", encode: (image) => image.webp({ lossless: true }) },
    AVIF: { format: "avif", encode: (image) => image.avif({ effort: 0 }) },
    GIF: { format: "gif", encode: (image) => image.gif() },
  };

const PICTURE = { width: 320, height: 240 };
const SCRIPT = "<script>alert(document.cookie)</script>";
const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");

/** All attacks but the damaged files, which are made from ENCODINGS. */
export async function attacks(): Promise<Attack[]> {
  const lists = await Promise.all([polyglots(), bombs(), liars()]);
  return lists.flat();
}

/** Files that are an image and something else. */
async function polyglots(): Promise<Attack[]> {
  const jpeg = await quarters().jpeg().toBuffer();
  const pngBytes = await quarters().png().toBuffer();
  const webpBytes = await quarters().webp().toBuffer();
  const archive = latin1("PK\x03\x04\x14\0\0\0\0\0evil.sh#!/bin/sh\nPK\x05\x06" + "\0".repeat(18));
  const comment = Buffer.concat([jpeg.subarray(0, 2), jpegSegment(0xfe, latin1(SCRIPT)), jpeg.subarray(2)]);
  const text = pngChunk("tEXt", latin1(`Comment\0<svg onload="alert(1)">${SCRIPT}</svg>`));
  return [
    { name: "JPEG and ZIP", bytes: Buffer.concat([jpeg, archive]), becomes: PICTURE },
    { name: "JPEG with a page in a comment", bytes: comment, becomes: PICTURE },
    { name: "PNG and a page", bytes: Buffer.concat([pngBytes, latin1(SCRIPT)]), becomes: PICTURE },
    {
      name: "PNG with an SVG inside",
      bytes: Buffer.concat([pngBytes.subarray(0, 33), text, pngBytes.subarray(33)]),
      becomes: PICTURE,
    },
    { name: "WebP and a page", bytes: Buffer.concat([webpBytes, latin1(SCRIPT)]), becomes: PICTURE },
    { name: "GIF and JavaScript", bytes: latin1("GIF89a/*\0\0\0\0\0\0;*/=1;alert(1)//"), becomes: "refusal" },
    {
      name: "JPEG that goes on as an SVG",
      bytes: latin1(`\xff\xd8\xff<svg>${SCRIPT}</svg>`),
      becomes: "refusal",
    },
    { name: "PNG that goes on as a PDF", bytes: latin1("\x89PNG\r\n\x1a\n%PDF-1.7"), becomes: "refusal" },
  ];
}

/** Small files that become large. */
async function bombs(): Promise<Attack[]> {
  const giant = { width: 7000, height: 7000 };
  const zeros = compressedZeros(400_000_000);
  const row = deflateSync(Buffer.alloc(10 * (1 + 10 * 3)));
  const create = { ...giant, channels: 3, background: "black" } as const;
  return [
    { name: "PNG of 49 black megapixels", bytes: await sharp({ create }).png().toBuffer(), becomes: giant },
    {
      name: "PNG whose pixels unpack to far more than it has",
      bytes: png({ width: 10, height: 10 }, pngChunk("IDAT", zeros)),
      becomes: "either",
    },
    {
      name: "PNG with a colour profile that unpacks to 400 MB",
      bytes: png(
        { width: 10, height: 10 },
        pngChunk("iCCP", Buffer.concat([latin1("p\0\0"), zeros])),
        pngChunk("IDAT", row),
      ),
      becomes: "either",
    },
    {
      name: "PNG with a text that unpacks to 400 MB",
      bytes: png(
        { width: 10, height: 10 },
        pngChunk("zTXt", Buffer.concat([latin1("t\0\0"), zeros])),
        pngChunk("IDAT", row),
      ),
      becomes: "either",
    },
    { name: "PNG of too few pixels", bytes: png(giant, pngChunk("IDAT", row)), becomes: "refusal" },
    { name: "GIF of 49 megapixels and no frame", bytes: gifHeader(7000, 7000), becomes: "refusal" },
    { name: "WebP of 49 megapixels and no frame", bytes: webpExtended(7000, 7000), becomes: "refusal" },
    {
      name: "WebP of a size alone",
      bytes: webp("VP8L", Buffer.from([0x2f, 0x57, 0xdb, 0xd5, 0x06])),
      becomes: "refusal",
    },
    { name: "AVIF of 700 million places of data", bytes: avifOfManyPlaces(), becomes: "refusal" },
  ];
}

/** Files whose headers say less, or more, than there is. */
async function liars(): Promise<Attack[]> {
  const large = await photo(4000, 3000);
  const avif = await large.clone().avif({ effort: 0 }).toBuffer();
  const gif = await quarters().gif().toBuffer();
  const jpeg = await large.jpeg().toBuffer();
  const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
  return [
    {
      name: "AVIF that is larger than it says",
      bytes: withSize(avif, avif.indexOf("ispe") + 8, 4, 10, 10),
      becomes: "refusal",
    },
    {
      name: "AVIF that is smaller than it says",
      bytes: withSize(avif, avif.indexOf("ispe") + 8, 4, 3500, 3500),
      becomes: "refusal",
    },
    {
      name: "JPEG that is larger than it says",
      bytes: withSize(jpeg, frame + 5, 2, 10, 10),
      becomes: "either",
    },
    {
      name: "JPEG that is smaller than it says",
      bytes: withSize(jpeg, frame + 5, 2, 7000, 7000),
      becomes: "refusal",
    },
    { name: "GIF whose frame is larger than it is", bytes: withSize(gif, 6, -2, 10, 10), becomes: "either" },
    {
      name: "GIF whose frame is smaller than it is",
      bytes: withSize(gif, 6, -2, 2000, 2000),
      becomes: "either",
    },
  ];
}

/** Writes a width and a height over bytes, each in so many; a negative number of bytes is little-endian. */
function withSize(bytes: Buffer, at: number, numberBytes: number, width: number, height: number): Buffer {
  const changed = Buffer.from(bytes);
  if (numberBytes < 0) {
    changed.writeUIntLE(width, at, -numberBytes);
    changed.writeUIntLE(height, at - numberBytes, -numberBytes);
  } else {
    // In a JPEG the height comes first; the sizes in use are square, so it is all the same.
    changed.writeUIntBE(height, at, numberBytes);
    changed.writeUIntBE(width, at + numberBytes, numberBytes);
  }
  return changed;
}

/** Whether a file has some of the text that the polyglots carry. */
export async function hasPayload(path: string): Promise<boolean> {
  const bytes = await readFile(path);
  return ["script", "evil.sh", "alert"].some((text) => bytes.includes(text));
}
