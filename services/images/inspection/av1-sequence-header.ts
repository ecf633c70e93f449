/* AV1 Bitstream & Decoding Process, 5.3 to 5.5: what the data of an image begins with. */

/** Longer than a sequence header and what may come before it are. */
export const SEQUENCE_HEADER_BYTES = 256;
const UNTIERED_LEVEL_MAX = 7;
const OBU_SEQUENCE_HEADER = 1;
const OBU_TEMPORAL_DELIMITER = 2;

/** A size that no frame exceeds, in pixels. */
export interface MaxFrameSize {
  width: number;
  height: number;
}

/**
 * The size that coded data says its frames have at most; undefined when it says so in a way that images have no use for.
 *
 * @param data the first {@link SEQUENCE_HEADER_BYTES} of it, or all
 */
export function readMaxFrameSize(data: Buffer): MaxFrameSize | undefined {
  const bits = new Bits(data);
  for (;;) {
    bits.take(1);
    const type = bits.take(4);
    const [hasExtension, hasSize] = [bits.take(1), bits.take(1)];
    bits.take(1);
    if (hasExtension) bits.take(8);
    const bytes = hasSize ? takeLeb128(bits) : undefined;
    if (type === OBU_SEQUENCE_HEADER) return takeSequenceHeader(bits);
    // Only a delimiter, which is empty, may come before.
    if (type !== OBU_TEMPORAL_DELIMITER || bytes !== 0) return undefined;
  }
}

function takeSequenceHeader(bits: Bits): MaxFrameSize | undefined {
  // The profile, and whether there is one frame.
  bits.take(4);
  const isReduced = bits.take(1);
  if (isReduced) bits.take(5);
  else {
    // With times of frames, there is much more to read.
    if (bits.take(1)) return undefined;
    const hasDelay = bits.take(1);
    for (let points = bits.take(5); points >= 0; points -= 1) takeOperatingPoint(bits, hasDelay === 1);
  }
  const [widthBits, heightBits] = [bits.take(4) + 1, bits.take(4) + 1];
  return { width: bits.take(widthBits) + 1, height: bits.take(heightBits) + 1 };
}

function takeOperatingPoint(bits: Bits, hasDelay: boolean): void {
  bits.take(12);
  const level = bits.take(5);
  if (level > UNTIERED_LEVEL_MAX) bits.take(1);
  if (hasDelay && bits.take(1)) bits.take(4);
}

/** 4.10.5: seven bits of each byte, the lowest first. */
function takeLeb128(bits: Bits): number {
  let value = 0;
  for (let shift = 0; shift < 56; shift += 7) {
    const byte = bits.take(8);
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  return value;
}

/** The bits of some bytes, the highest of each first; behind them there are zeros. */
class Bits {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  take(count: number): number {
    let value = 0;
    for (const end = this.#at + count; this.#at < end; this.#at += 1) {
      const byte = this.#bytes[this.#at >> 3] ?? 0;
      value = value * 2 + ((byte >> (7 - (this.#at & 7))) & 1);
    }
    return value;
  }
}
