import type { FileBytes } from "./file-bytes.ts";
import { damaged } from "./image-refusals.ts";

/* ISO/IEC 14496-12: a file is a list of boxes, each with its size and type, which may hold boxes themselves. */

/** Size and type. */
const HEAD_BYTES = 8;

export interface Box {
  type: string;
  /** Of its content. */
  start: number;
  end: number;
}

/**
 * The boxes between two offsets. Bytes after them that are too few to be one are left alone, as by decoders.
 *
 * @throws IMAGE_UNREADABLE for a box that ends behind the second offset
 */
export async function* boxes(file: FileBytes, start: number, end: number): AsyncGenerator<Box> {
  let offset = start;
  while (end - offset >= HEAD_BYTES) {
    const head = await file.at(offset, HEAD_BYTES);
    const type = head.toString("latin1", 4, 8);
    const size = head.readUInt32BE(0);
    // 0: up to the end; 1: the size has 64 bits and follows.
    const hasLongSize = size === 1;
    const length = hasLongSize
      ? Number((await file.at(offset + HEAD_BYTES, 8)).readBigUInt64BE())
      : size || end - offset;
    const headBytes = hasLongSize ? HEAD_BYTES + 8 : HEAD_BYTES;
    if (length < headBytes || offset + length > end) throw damaged();
    yield { type, start: offset + headBytes, end: offset + length };
    offset += length;
  }
}

/** The first box of a type. @throws IMAGE_UNREADABLE when there is none */
export async function findBox(among: AsyncGenerator<Box>, type: string): Promise<Box> {
  for await (const box of among) if (box.type === type) return box;
  throw damaged();
}

/** Reads one number after another from the content of a box that begins with its version and flags. */
export class BoxFields {
  readonly version: number;
  readonly flags: number;
  readonly #bytes: Buffer;
  #at = 0;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.version = this.take(1);
    this.flags = this.take(3);
  }

  /** @throws IMAGE_UNREADABLE for a box that is longer than any of its kind needs to be */
  static async of(file: FileBytes, { start, end }: Box): Promise<BoxFields> {
    // A copy, as what is in the window is valid until the next read.
    return new BoxFields(Buffer.from(await file.at(start, end - start)));
  }

  /** An unsigned number of so many bytes, any number of them. @throws IMAGE_UNREADABLE behind the end of the box */
  take(bytes: number): number {
    let at = this.#at;
    this.skip(bytes);
    let value = 0;
    for (; at < this.#at; at += 1) value = value * 256 + (this.#bytes[at] ?? 0);
    return value;
  }

  /** Leaves out so many bytes. @throws IMAGE_UNREADABLE behind the end of the box */
  skip(bytes: number): void {
    this.#at += bytes;
    if (this.#at > this.#bytes.length) throw damaged();
  }
}
