import { WINDOW_BYTES, type FileBytes } from "./file-bytes.ts";
import type { ImageHeader } from "./image-header.ts";
import { damaged, tooMuchWork } from "./image-refusals.ts";

/* ITU-T T.81, annex B: a JPEG is a list of segments, each after a marker, and bytes of compressed data after each SOS. */

const START_OF_SCAN = 0xda;
const END_OF_IMAGE = Buffer.from([0xff, 0xd9]);
/** DHT, JPG and DAC have numbers between those of the frame headers. */
const NO_FRAME_HEADERS = new Set([0xc4, 0xc8, 0xcc]);
const PROGRESSIVE = new Set([0xc2, 0xc6, 0xca, 0xce]);
/** Images have tens of segments, and hardly a byte between them. */
const MAX_SEGMENTS = 2000;
/** Encoders make a dozen. Each can be of a few bytes, and takes as long as all the pixels. */
const MAX_SCANS = 100;
/** So many bytes are looked at together for markers. */
const PIECE_BYTES = 4096;

interface Segment {
  marker: number;
  /** Where its content begins, and how long that is. */
  start: number;
  length: number;
}

interface Frame {
  width: number;
  height: number;
  components: number;
  /** Samples of all components for each pixel. */
  samplesPerPixel: number;
  isProgressive: boolean;
}

/** The header of a JPEG. One in several scans is kept in memory as a whole: 2 bytes for each sample. */
export async function readJpegHeader(file: FileBytes): Promise<ImageHeader> {
  let frame: Frame | undefined;
  for await (const segment of segments(file)) {
    if (isFrameHeader(segment.marker)) frame ??= await readFrame(file, segment);
    if (segment.marker !== START_OF_SCAN) continue;
    if (!frame) break;
    const { width, height, components, samplesPerPixel, isProgressive } = frame;
    const isInSeveralScans = isProgressive || (await file.at(segment.start, 1)).readUInt8() < components;
    return {
      width,
      height,
      decodeBytes: isInSeveralScans ? width * height * samplesPerPixel * 2 : 0,
      isWhole: async () => {
        const pixels = segment.start + segment.length;
        return (
          (isInSeveralScans && (await endsAfterFewScans(file, pixels))) || has(file, END_OF_IMAGE, pixels)
        );
      },
    };
  }
  throw damaged();
}

/** The segments up to the first scan. */
async function* segments(file: FileBytes): AsyncGenerator<Segment> {
  let offset = 2;
  for (let count = 0; count < MAX_SEGMENTS; count += 1) {
    const [first, marker = 0] = await file.at(offset, 2);
    if (first !== 0xff) throw damaged();
    // Any number of 0xff may stand before a marker.
    offset += marker === 0xff ? 1 : 2;
    if (marker === 0xff) continue;
    const length = (await file.at(offset, 2)).readUInt16BE();
    if (length < 2) throw damaged();
    yield { marker, start: offset + 2, length: length - 2 };
    if (marker === START_OF_SCAN) return;
    offset += length;
  }
}

function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && !NO_FRAME_HEADERS.has(marker);
}

async function readFrame(file: FileBytes, { marker, start }: Segment): Promise<Frame> {
  const head = await file.at(start, 6);
  const height = head.readUInt16BE(1);
  const width = head.readUInt16BE(3);
  const components = head.readUInt8(5);
  const factors = [...(await file.at(start + 6, components * 3))]
    .filter((_, index) => index % 3 === 1)
    .map((byte) => ({ across: byte >> 4, down: byte & 15 }));
  const widest = Math.max(...factors.map(({ across }) => across));
  const tallest = Math.max(...factors.map(({ down }) => down));
  const samples = factors.reduce((sum, { across, down }) => sum + across * down, 0);
  if (components === 0 || samples === 0) throw damaged();
  return {
    width,
    height,
    components,
    samplesPerPixel: samples / (widest * tallest),
    isProgressive: PROGRESSIVE.has(marker),
  };
}

/**
 * Whether the end of the image is where a scan is over.
 *
 * @param start where the data of the first scan begins
 * @throws IMAGE_UNREADABLE for one of very many scans
 */
async function endsAfterFewScans(file: FileBytes, start: number): Promise<boolean> {
  let scans = 1;
  let at = await findMarker(file, start);
  for (let count = 0; at !== undefined; count += 1) {
    const marker = (await file.at(at, 1)).readUInt8();
    if (marker === END_OF_IMAGE[1]) return true;
    if (marker === START_OF_SCAN) scans += 1;
    if (scans > MAX_SCANS || count === MAX_SEGMENTS) throw tooMuchWork();
    const length = (await file.at(at + 1, 2)).readUInt16BE();
    at = await findMarker(file, at + 1 + length);
  }
  return false;
}

/** Where the next marker is, as the decoder looks for it: behind data of a scan and behind what is nothing at all. */
async function findMarker(file: FileBytes, start: number): Promise<number | undefined> {
  for (let offset = start; offset < file.size; offset += PIECE_BYTES - 1) {
    const bytes = await file.upTo(offset, PIECE_BYTES);
    for (let at = 1; at < bytes.length; at += 1) {
      if (bytes[at - 1] === 0xff && !isWithinScan(bytes[at] ?? 0)) return offset + at;
    }
  }
  return undefined;
}

/** Whether a byte after 0xff is data, fills, or is a marker without a segment. */
function isWithinScan(byte: number): boolean {
  return byte <= 1 || byte === 0xff || (byte >= 0xd0 && byte <= 0xd7);
}

/** Whether bytes occur somewhere from `start` on. */
async function has(file: FileBytes, bytes: Buffer, start: number): Promise<boolean> {
  for (let offset = start; offset < file.size; offset += WINDOW_BYTES - bytes.length + 1) {
    if ((await file.upTo(offset, WINDOW_BYTES)).includes(bytes)) return true;
  }
  return false;
}
