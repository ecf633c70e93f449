import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import sharp from "sharp";

import { isAppError } from "../../broker/errors.ts";
import type { ImageProcessor, ProcessedImage } from "../../services/images/image-processor.ts";
import { attacks, ENCODINGS, hasPayload, type Attack } from "../support/image-gauntlet.ts";
import { PRESETS, quarters, randomNumbers, startImageProcessor } from "../support/images.ts";
import { temporaryDir } from "../support/test-run.ts";

const REFUSALS = ["UNSUPPORTED_IMAGE_TYPE", "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE"];
const DAMAGES_OF_EACH = 40;

describe("an upload that means harm", () => {
  let processor: ImageProcessor;
  beforeAll(() => {
    // One small file of each image: what is of interest here happens before.
    processor = startImageProcessor({ presets: PRESETS.slice(1, 2), formats: ["webp"] });
  });
  afterAll(async () => {
    await processor.stop();
  });

  /** The image, once it was seen that its files are what it says; or the code of the refusal. */
  async function process(bytes: Buffer): Promise<ProcessedImage | string> {
    const folder = temporaryDir("attack");
    const source = join(folder, "source");
    await writeFile(source, bytes);
    try {
      const image = await processor.process(source, folder);
      for (const { path } of image.files) {
        const { info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
        expect(Math.max(info.width, info.height)).toBe(Math.min(256, Math.max(image.width, image.height)));
        expect(await hasPayload(path)).toBe(false);
      }
      return image;
    } catch (error) {
      if (!isAppError(error) || !REFUSALS.includes(error.type)) throw error;
      return error.type;
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  it("is refused, or becomes a harmless image: polyglots, bombs, and headers that lie", async () => {
    const list = await attacks();
    for (const attack of list) {
      const outcome = await process(attack.bytes);
      expect({ name: attack.name, isRight: isExpected(attack, outcome), outcome }).toMatchObject({
        isRight: true,
      });
    }
    expect(processor.usage()).toMatchObject({ running: 0, waiting: 0, workers: 1, workersLost: 0 });
  });

  it.each(Object.entries(ENCODINGS))("is refused when it is a %s that was cut off", async (_, { encode }) => {
    const whole = await encode(quarters()).toBuffer();
    const random = randomNumbers(whole.length);
    for (let cut = 0; cut < DAMAGES_OF_EACH; cut += 1) {
      // Without the last few bytes all pixels may be there.
      const length = 1 + random(whole.length - 16);
      expect({ length, outcome: await process(whole.subarray(0, length)) }).toEqual({
        length,
        outcome: expect.stringMatching(REFUSALS.join("|")),
      });
    }
  });

  it.each(Object.entries(ENCODINGS))(
    "is refused or becomes an image when it is a damaged %s",
    async (_, { format, encode }) => {
      const whole = await encode(quarters()).toBuffer();
      const random = randomNumbers(whole.length);
      for (let round = 0; round < DAMAGES_OF_EACH; round += 1) {
        const damaged = Buffer.from(whole);
        for (let count = random(4); count >= 0; count -= 1)
          damaged.writeUInt8(random(256), random(whole.length));
        const outcome = await process(damaged);
        expect([format, ...REFUSALS]).toContain(typeof outcome === "object" ? outcome.format : outcome);
      }
      expect(processor.usage()).toMatchObject({ running: 0, waiting: 0, workers: 1, workersLost: 0 });
    },
  );
});

function isExpected({ becomes }: Attack, outcome: ProcessedImage | string): boolean {
  if (typeof becomes === "object") {
    return (
      typeof outcome === "object" && outcome.width === becomes.width && outcome.height === becomes.height
    );
  }
  return becomes === "either" || typeof outcome === "string";
}
