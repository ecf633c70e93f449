import { writeFile } from "node:fs/promises";

import { describe, expect, test } from "@jest/globals";
import sharp from "sharp";

import { isDiskFull } from "../../../lib/disk-full.ts";

/** A file of Linux on which there is never room. */
const FULL = "/dev/full";

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "none",
    (error: unknown) => error,
  );

describe("a disk is full", () => {
  test("for Node", async () => {
    expect(isDiskFull(await errorOf(writeFile(FULL, "x")))).toBe(true);
  });

  test("for the library of images, which has no code of it", async () => {
    const image = sharp({ create: { width: 8, height: 8, channels: 3, background: "#fff" } });
    expect(isDiskFull(await errorOf(image.jpeg().toFile(FULL)))).toBe(true);
  });
});

test("a file that cannot be written for another reason says nothing of the room", async () => {
  expect(isDiskFull(await errorOf(writeFile("/dev", "x")))).toBe(false);
});
