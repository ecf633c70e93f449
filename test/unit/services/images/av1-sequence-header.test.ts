import { expect, test } from "@jest/globals";

import { readMaxFrameSize } from "../../../../services/images/inspection/av1-sequence-header.ts";

const DELIMITER = "00010 0 1 0 00000000";
/** Of an image: no times, no operating points. */
const STILL = "000 1 1 00000";
/** As encoders of video write it: one operating point with a tier and a delay. */
const MOVING = "000 0 0 0 1 00000 000000000000 01000 0 1 0000";
/** 9 bits of width and 8 of height, each less one. */
const SIZE_320_BY_240 = "1000 0111 100111111 11101111";

const header = (content: string): string => `00001 0 1 0 ${leb128(content)} ${content}`;

function leb128(content: string): string {
  const count = Math.ceil(content.replaceAll(" ", "").length / 8);
  return count.toString(2).padStart(8, "0");
}

/** The bytes of bits. */
function bytesOf(bits: string): Buffer {
  const octets = bits.replaceAll(" ", "").match(/.{1,8}/g) ?? [];
  return Buffer.from(octets.map((octet) => Number.parseInt(octet.padEnd(8, "0"), 2)));
}

test.each([
  ["an image", `${DELIMITER} ${header(`${STILL} ${SIZE_320_BY_240}`)}`],
  ["an image without a delimiter", header(`${STILL} ${SIZE_320_BY_240}`)],
  ["a header that does not say how long it is", `00001 0 0 0 ${STILL} ${SIZE_320_BY_240}`],
  ["a header of a layer", `00001 1 0 0 00000000 ${STILL} ${SIZE_320_BY_240}`],
  ["a video", `${DELIMITER} ${header(`${MOVING} ${SIZE_320_BY_240}`)}`],
])("the size of %s is read", (_, bits) => {
  expect(readMaxFrameSize(bytesOf(bits))).toEqual({ width: 320, height: 240 });
});

test.each([
  ["a video with times of its frames", header("000 0 0 1 0000")],
  ["other data", "00110 0 1 0 00000001 00000000"],
  ["a delimiter that is not empty", "00010 0 1 0 00000001 00000000"],
])("no size is known of %s", (_, bits) => {
  expect(readMaxFrameSize(bytesOf(bits))).toBeUndefined();
});

test("data that ends early makes a small image, and no endless one", () => {
  expect(readMaxFrameSize(bytesOf(header(STILL)))).toEqual({ width: 1, height: 1 });
  expect(readMaxFrameSize(Buffer.alloc(0))).toBeUndefined();
});
