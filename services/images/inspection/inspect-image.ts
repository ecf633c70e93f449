import type { SourceFormat } from "../image-processor.ts";
import { readAvifHeader } from "./avif-header.ts";
import { FileBytes } from "./file-bytes.ts";
import { readGifHeader } from "./gif-header.ts";
import { MAX_PIXELS, type HeaderReader, type ImageHeader } from "./image-header.ts";
import { damaged, sideTooLong, tooManyPixels, unsupportedType } from "./image-refusals.ts";
import { readJpegHeader } from "./jpeg-header.ts";
import { readPngHeader } from "./png-header.ts";
import { readWebpHeader } from "./webp-header.ts";

/** Only a PNG could have a longer side. */
const MAX_SIDE_PIXELS = 65_535;

const HEADER_READERS: Readonly<Record<SourceFormat, HeaderReader>> = {
  jpeg: readJpegHeader,
  png: readPngHeader,
  webp: readWebpHeader,
  avif: readAvifHeader,
  gif: readGifHeader,
};

/** The most of the start of a file that says its type. */
const SIGNATURE_BYTES = 64;

/** What is known of an image that was not decoded yet. */
export interface InspectedImage {
  format: SourceFormat;
  /** About how much memory decoding takes. */
  decodeBytes: number;
}

/**
 * Finds out what kind of image a file is, from its bytes alone, and refuses at once what cannot become one: other types,
 * too many pixels, missing parts. It reads headers and checksums only, so it takes milliseconds.
 *
 * @param decodeBytesMax most memory that decoding may take
 * @throws UNSUPPORTED_IMAGE_TYPE, IMAGE_TOO_LARGE, IMAGE_UNREADABLE
 */
export function inspectImage(path: string, decodeBytesMax: number): Promise<InspectedImage> {
  return FileBytes.use(path, async (file) => {
    const format = formatOf(await file.upTo(0, SIGNATURE_BYTES));
    if (!format) throw unsupportedType();
    const header = await HEADER_READERS[format](file);
    checkSize(header, decodeBytesMax);
    if (!(await header.isWhole())) throw damaged();
    return { format, decodeBytes: header.decodeBytes };
  });
}

/** The accepted format that a file begins with. */
function formatOf(start: Buffer): SourceFormat | undefined {
  const text = start.toString("latin1");
  if (text.startsWith("\xff\xd8\xff")) return "jpeg";
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (text.startsWith("GIF87a") || text.startsWith("GIF89a")) return "gif";
  if (text.startsWith("RIFF") && text.startsWith("WEBP", 8)) return "webp";
  if (text.startsWith("ftyp", 4) && isStillAvif(text.slice(8, start.readUInt32BE(0)))) return "avif";
  return undefined;
}

/** @param types that the first box of ISO/IEC 14496-12 names, of 4 characters: the major one, a version, those compatible */
function isStillAvif(types: string): boolean {
  const [major = "", _version, ...compatible] = types.match(/.{4}/gs) ?? [];
  // The decoder takes no others: an animation calls itself `avis`.
  return ["avif", "mif1", "msf1"].includes(major) && [major, ...compatible].includes("avif");
}

function checkSize({ width, height, decodeBytes }: ImageHeader, decodeBytesMax: number): void {
  const pixels = width * height;
  if (pixels === 0) throw damaged();
  if (pixels > MAX_PIXELS) throw tooManyPixels(pixels, MAX_PIXELS);
  if (decodeBytes > decodeBytesMax) throw tooManyPixels(pixels, (pixels * decodeBytesMax) / decodeBytes);
  const side = Math.max(width, height);
  if (side > MAX_SIDE_PIXELS) throw sideTooLong(side, MAX_SIDE_PIXELS);
}
