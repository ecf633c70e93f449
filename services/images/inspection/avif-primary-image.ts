import type { FileBytes } from "./file-bytes.ts";
import { tooMuchWork } from "./image-refusals.ts";
import { BoxFields, boxes, findBox, type Box } from "./iso-boxes.ts";

/* ISO/IEC 14496-12, 8.11, and 23008-12, 9.3: which image of the file is shown, where its data is, and what is said of it. */

/** The decoder takes a quarter of it. */
const MAX_PARTS = 1000;

/** The image that is shown, unless it is put together of others. */
export interface PrimaryImage {
  /** Where its data begins in the file; undefined when it is elsewhere. */
  offset: number | undefined;
  /** Its properties, by their place in the list of all, counted from 1. */
  properties: number[];
}

/**
 * @param meta the box that tells of all images
 * @param properties of all images, by their ids
 * @throws IMAGE_UNREADABLE
 */
export async function findPrimaryImage(
  file: FileBytes,
  meta: Box,
  properties: ReadonlyMap<number, number[]>,
): Promise<PrimaryImage> {
  const among = (type: string) => findBox(boxes(file, meta.start + 4, meta.end), type);
  const pitm = await BoxFields.of(file, await among("pitm"));
  const id = pitm.take(pitm.version === 0 ? 2 : 4);
  const offset = offsetOf(id, await BoxFields.of(file, await among("iloc")));
  return { offset, properties: properties.get(id) ?? [] };
}

/** The ids of the images of which others are put together, each as often as it is used. @throws IMAGE_UNREADABLE */
export async function findParts(file: FileBytes, meta: Box): Promise<number[]> {
  const parts: number[] = [];
  for await (const iref of boxes(file, meta.start + 4, meta.end)) {
    if (iref.type !== "iref") continue;
    const idBytes = (await file.at(iref.start, 1)).readUInt8() === 0 ? 2 : 4;
    for await (const { type, start, end } of boxes(file, iref.start + 4, iref.end)) {
      if (type !== "dimg") continue;
      const ids = await file.at(start, end - start);
      // Before them are the id of the whole and their number.
      for (let at = idBytes + 2; at + idBytes <= ids.length; at += idBytes) {
        parts.push(ids.readUIntBE(at, idBytes));
      }
      if (parts.length > MAX_PARTS) throw tooMuchWork();
    }
  }
  return parts;
}

function offsetOf(id: number, iloc: BoxFields): number | undefined {
  const { version } = iloc;
  const [sizes, moreSizes] = [iloc.take(1), iloc.take(1)];
  const [offsetBytes, lengthBytes] = [sizes >> 4, sizes & 15];
  const [baseBytes, indexBytes] = [moreSizes >> 4, version === 0 ? 0 : moreSizes & 15];
  const idBytes = version === 2 ? 4 : 2;
  for (let items = iloc.take(idBytes); items > 0; items -= 1) {
    const itemId = iloc.take(idBytes);
    const method = version === 0 ? 0 : iloc.take(2) & 15;
    const otherFile = iloc.take(2);
    const base = iloc.take(baseBytes);
    const extents = iloc.take(2);
    if (itemId === id) {
      if (method !== 0 || otherFile !== 0 || extents === 0) return undefined;
      iloc.skip(indexBytes);
      return base + iloc.take(offsetBytes);
    }
    // Not one after another: when each takes no bytes, the end of the box is no end to them.
    iloc.skip(extents * (indexBytes + offsetBytes + lengthBytes));
  }
  return undefined;
}

/** The properties of all images, by their ids: their places in the list of all, counted from 1. @throws IMAGE_UNREADABLE */
export async function readProperties(file: FileBytes, iprp: Box): Promise<Map<number, number[]>> {
  const ipma = await BoxFields.of(file, await findBox(boxes(file, iprp.start, iprp.end), "ipma"));
  const isLong = (ipma.flags & 1) === 1;
  const byId = new Map<number, number[]>();
  for (let entries = ipma.take(4); entries > 0; entries -= 1) {
    const id = ipma.take(ipma.version === 0 ? 2 : 4);
    // Without the bit that says whether a reader must know the property.
    const properties: number[] = [];
    for (let count = ipma.take(1); count > 0; count -= 1) {
      properties.push(isLong ? ipma.take(2) & 0x7fff : ipma.take(1) & 0x7f);
    }
    byId.set(id, properties);
  }
  return byId;
}
