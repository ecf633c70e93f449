import type { FileBytes } from "./file-bytes.ts";
import { BoxFields, boxes, findBox, type Box } from "./iso-boxes.ts";

/* ISO/IEC 14496-12, 8.11, and 23008-12, 9.3: which image of the file is shown, where its data is, and what is said of it. */

/** The image that is shown, unless it is put together of others. */
export interface PrimaryImage {
  /** Where its data begins in the file; undefined when it is elsewhere. */
  offset: number | undefined;
  /** Its properties, by their place in the list of all, counted from 1. */
  properties: number[];
}

/** @param meta the box that tells of all images @throws IMAGE_UNREADABLE */
export async function findPrimaryImage(file: FileBytes, meta: Box, iprp: Box): Promise<PrimaryImage> {
  const among = (type: string) => findBox(boxes(file, meta.start + 4, meta.end), type);
  const pitm = await BoxFields.of(file, await among("pitm"));
  const id = pitm.take(pitm.version === 0 ? 2 : 4);
  const ipma = await findBox(boxes(file, iprp.start, iprp.end), "ipma");
  return {
    offset: offsetOf(id, await BoxFields.of(file, await among("iloc"))),
    properties: propertiesOf(id, await BoxFields.of(file, ipma)),
  };
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
    const offsets: number[] = [];
    for (let extent = 0; extent < extents; extent += 1) {
      iloc.take(indexBytes);
      offsets.push(base + iloc.take(offsetBytes));
      iloc.take(lengthBytes);
    }
    if (itemId === id) return method === 0 && otherFile === 0 ? offsets[0] : undefined;
  }
  return undefined;
}

function propertiesOf(id: number, ipma: BoxFields): number[] {
  const isLong = (ipma.flags & 1) === 1;
  for (let entries = ipma.take(4); entries > 0; entries -= 1) {
    const itemId = ipma.take(ipma.version === 0 ? 2 : 4);
    // Without the bit that says whether a reader must know the property.
    const properties = Array.from({ length: ipma.take(1) }, () =>
      isLong ? ipma.take(2) & 0x7fff : ipma.take(1) & 0x7f,
    );
    if (itemId === id) return properties;
  }
  return [];
}
