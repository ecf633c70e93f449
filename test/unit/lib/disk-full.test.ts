import { writeFile } from "node:fs/promises";

import { describe, expect, test } from "@jest/globals";
import sharp from "sharp";

import { unlessDiskFull } from "../../../lib/disk-full.ts";

/** A file of Linux on which there is never room. */
const FULL = "/dev/full";

const NO_ROOM = { type: "STORAGE_UNAVAILABLE", code: 503 };

describe("a disk that is full is unavailable", () => {
  test("for Node", async () => {
    await expect(unlessDiskFull(() => writeFile(FULL, "x"))).rejects.toMatchObject(NO_ROOM);
  });

  test("for the library of images, which has no code of it", async () => {
    const image = sharp({ create: { width: 8, height: 8, channels: 3, background: "#fff" } });
    await expect(unlessDiskFull(() => image.jpeg().toFile(FULL))).rejects.toMatchObject(NO_ROOM);
  });
});

test("a file that cannot be written for another reason says nothing of the room", async () => {
  await expect(unlessDiskFull(() => writeFile("/dev", "x"))).rejects.toMatchObject({ code: "EISDIR" });
});
