import { readMaxFrameSize, SEQUENCE_HEADER_BYTES } from "./av1-sequence-header.ts";
import { findParts, findPrimaryImage, readProperties, type PrimaryImage } from "./avif-primary-image.ts";
import type { FileBytes } from "./file-bytes.ts";
import { MAX_PIXELS, rowBytes, type ImageHeader } from "./image-header.ts";
import { damaged, tooMuchWork } from "./image-refusals.ts";
import { boxes, findBox, type Box } from "./iso-boxes.ts";

/*
 * AVIF 1.2 and ISO/IEC 23008-12: what is known of the images in a file without decoding them is below meta, iprp, ipco:
 * their sizes (ispe) and how they are coded (av1C).
 */

/** What the AV1 decoder takes for each pixel of 8 bits, of 8 bits in full colour or transparent, and of more bits. */
const BYTES_PER_PIXEL = { plain: 15, rich: 18, deep: 23 };
const BITS_HIGH = 0x40;
const BITS_SUBSAMPLED = 0x0c;

/** What is said of one of the images in a file: its size in pixels, how it is coded, or what does not matter here. */
type Property =
  { type: "ispe"; width: number; height: number } | { type: "av1C"; bits: number } | { type: "other" };

/** The header of an AVIF. The largest image in it counts: a tile or a thumbnail is no larger. */
export async function readAvifHeader(file: FileBytes): Promise<ImageHeader> {
  const meta = await findBox(boxes(file, 0, file.size), "meta");
  // Version and flags come before the boxes in meta.
  const iprp = await findBox(boxes(file, meta.start + 4, meta.end), "iprp");
  const ipco = await findBox(boxes(file, iprp.start, iprp.end), "ipco");
  const properties: Property[] = [];
  for await (const box of boxes(file, ipco.start, ipco.end)) properties.push(await readProperty(file, box));

  const sizes = properties.filter((property) => property.type === "ispe");
  const codings = properties.filter((property) => property.type === "av1C");
  const [largest] = sizes.toSorted((a, b) => areaOf(b) - areaOf(a));
  if (!largest || codings.length === 0) throw damaged();
  const { width, height } = largest;
  const isDeep = codings.some(({ bits }) => (bits & BITS_HIGH) !== 0);
  const isPlain =
    codings.length === 1 && codings.every(({ bits }) => (bits & BITS_SUBSAMPLED) === BITS_SUBSAMPLED);
  const perPixel = BYTES_PER_PIXEL[isDeep ? "deep" : isPlain ? "plain" : "rich"];
  return {
    width,
    height,
    decodeBytes: width * height * perPixel + rowBytes(width, height, isDeep ? 6 : 3),
    isWhole: async () => {
      // A box that ends behind the end of the file throws.
      for await (const _ of boxes(file, 0, file.size));
      const byId = await readProperties(file, iprp);
      // Of a part whose size is not known, as many as any has.
      const pixelsOf = (id: number): number => areaOf(sizeAmong(byId.get(id) ?? [], properties) ?? largest);
      const partPixels = (await findParts(file, meta)).reduce((sum, id) => sum + pixelsOf(id), 0);
      if (partPixels > MAX_PIXELS) throw tooMuchWork();
      return hasAllPixels(file, await findPrimaryImage(file, meta, byId), properties);
    },
  };
}

const areaOf = ({ width, height }: { width: number; height: number }): number => width * height;

async function readProperty(file: FileBytes, { type, start }: Box): Promise<Property> {
  if (type === "av1C") return { type, bits: (await file.at(start + 2, 1)).readUInt8() };
  if (type !== "ispe") return { type: "other" };
  const size = await file.at(start + 4, 8);
  return { type, width: size.readUInt32BE(0), height: size.readUInt32BE(4) };
}

/** Whether the data of the image that is shown can be as large as it says. Of one that is put together, the decoder finds out. */
async function hasAllPixels(
  file: FileBytes,
  { offset, properties }: PrimaryImage,
  all: readonly Property[],
): Promise<boolean> {
  const size = sizeAmong(properties, all);
  const isCoded = properties.some((place) => all[place - 1]?.type === "av1C");
  if (!size || !isCoded || offset === undefined) return true;
  if (offset >= file.size) return false;
  const coded = readMaxFrameSize(await file.upTo(offset, SEQUENCE_HEADER_BYTES));
  return coded === undefined || (size.width <= coded.width && size.height <= coded.height);
}

/** The size that is said of an image with properties at these places in the list of all. */
function sizeAmong(places: readonly number[], all: readonly Property[]) {
  for (const place of places) {
    const property = all[place - 1];
    if (property?.type === "ispe") return property;
  }
  return undefined;
}
