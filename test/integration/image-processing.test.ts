import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import sharp, { type Sharp } from "sharp";
import { thumbHashToAverageRGBA } from "thumbhash";

import { MEDIA_FORMATS } from "../../lib/media-path.ts";
import type { ImageProcessor, ProcessedImage } from "../../services/images/image-processor.ts";
import {
  colorAt,
  difference,
  pathOf,
  PRESETS,
  quarterColors,
  quarterPixels,
  quarters,
  QUARTERS,
  saved,
  startImageProcessor,
  type Color,
} from "../support/images.ts";
import { temporaryDir } from "../support/test-run.ts";

/** What lossy files may differ from the picture in each of red, green and blue. */
const LOSS = 12;

describe("an image that is processed", () => {
  let processor: ImageProcessor;
  beforeAll(() => {
    processor = startImageProcessor();
  });
  afterAll(() => processor.stop());

  async function process(image: Sharp, name: string): Promise<ProcessedImage> {
    return processor.process(await saved(image, name), temporaryDir("presets"));
  }

  it("becomes a file for each preset and format, with its pixels and true size", async () => {
    const image = await process(quarters(2000, 1500).jpeg(), "photo.jpg");
    expect(image).toMatchObject({ format: "jpeg", width: 2000, height: 1500 });
    expect(image.files.map(({ preset, format }) => `${preset}.${format}`)).toEqual(
      PRESETS.flatMap(({ name }) => MEDIA_FORMATS.map((format) => `${name}.${format}`)),
    );
    const sizes = { thumb: [64, 64], small: [256, 192], medium: [640, 480], large: [1600, 1200] };
    for (const { preset, format, path, bytes } of image.files) {
      expect(await sizeOf(path)).toEqual(sizes[preset as keyof typeof sizes]);
      expect((await sharp(path).metadata()).format).toBe(format === "avif" ? "heif" : format);
      expect((await readFile(path)).length).toBe(bytes);
      expect(difference(QUARTERS, await quarterColors(path))).toBeLessThan(LOSS);
    }
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("is turned upright from EXIF orientation %d", async (orientation) => {
    const [width, height] = [320, 200];
    for (const format of ["jpeg", "png", "webp"] as const) {
      const turned = asStored(orientation, width, height).withMetadata({ orientation }).toFormat(format);
      const image = await process(turned, `turned.${format}`);
      expect(image).toMatchObject({ width, height });
      for (const preset of ["large", "thumb"]) {
        expect(difference(QUARTERS, await quarterColors(pathOf(image, preset, "webp")))).toBeLessThan(LOSS);
      }
    }
  });

  it("is shown in the right colours, whatever it is stored in", async () => {
    const stored: Record<string, Sharp> = {
      "p3.jpg": quarters().withIccProfile("p3").jpeg({ quality: 95 }),
      "p3.png": quarters().withIccProfile("p3").png(),
      "deep.png": quarters().toColourspace("rgb16").png(),
      "deep-p3.png": quarters().toColourspace("rgb16").withIccProfile("p3").png(),
      "palette.png": quarters().png({ palette: true }),
      "interlaced.png": quarters().png({ progressive: true }),
      "progressive.jpg": quarters().jpeg({ progressive: true, quality: 95 }),
      "lossless.webp": quarters().webp({ lossless: true }),
      "lossy.webp": quarters().webp({ quality: 95 }),
      "8-bit.avif": quarters().avif({ quality: 90 }),
      "10-bit.avif": quarters().avif({ quality: 90, bitdepth: 10 }),
      "palette.gif": quarters().gif(),
    };
    for (const [name, image] of Object.entries(stored)) {
      const { files } = await process(image, name);
      for (const { path } of files.filter(({ preset }) => preset === "large")) {
        const loss = difference(QUARTERS, await quarterColors(path));
        expect({ name, file: basename(path), isRight: loss < LOSS }).toMatchObject({ isRight: true });
      }
    }
  });

  it("may be a photograph by Samsung, whose scan header is wrong, but not a damaged one", async () => {
    const jpeg = await quarters().withMetadata({ orientation: 6 }).jpeg().toBuffer();
    const scan = jpeg.lastIndexOf(Buffer.from([0xff, 0xda]));
    const pixels = scan + 2 + jpeg.readUInt16BE(scan + 2);
    jpeg.fill(0, pixels - 3, pixels);
    const [folder, fillByte] = [temporaryDir("samsung"), Buffer.from([0xff])];
    const photo = join(folder, "photo.jpg");
    await writeFile(photo, Buffer.concat([jpeg.subarray(0, scan), fillByte, jpeg.subarray(scan)]));
    const image = await processor.process(photo, temporaryDir("presets"));
    expect(image).toMatchObject({ width: 240, height: 320 });
    const [topLeft = [], , bottomLeft = []] = await quarterColors(pathOf(image, "large", "webp"));
    expect(difference([QUARTERS[2] ?? [], QUARTERS[3] ?? []], [topLeft, bottomLeft])).toBeLessThan(LOSS);

    const damaged = join(folder, "damaged.jpg");
    await writeFile(damaged, Buffer.from(jpeg).fill(0xd9, pixels + 50, pixels + 60));
    const refusal = processor.process(damaged, temporaryDir("presets"));
    await expect(refusal).rejects.toMatchObject({ type: "IMAGE_UNREADABLE" });
  });

  it("keeps about the colours that can be printed when it is CMYK", async () => {
    const image = await process(quarters().toColourspace("cmyk").jpeg({ quality: 95 }), "print.jpg");
    expect(difference(QUARTERS, await quarterColors(pathOf(image, "large", "webp")))).toBeLessThan(40);
  });

  it("may be grey", async () => {
    for (const grey of [quarters().toColourspace("b-w"), quarters().toColourspace("grey16")]) {
      const image = await process(grey.png(), "grey.png");
      for (const format of MEDIA_FORMATS) {
        const colors = await quarterColors(pathOf(image, "medium", format));
        const greys = colors.map(
          ([red = 0, green = red, blue = red]) => Math.max(red, green, blue) - Math.min(red, green, blue),
        );
        expect(Math.max(...greys)).toBeLessThan(4);
        expect(colors[3]?.[0]).toBeGreaterThan(colors[2]?.[0] ?? 255);
      }
    }
  });

  it("stays transparent where the format can be, and becomes white where it cannot", async () => {
    const image = await process(halfTransparent().png(), "logo.png");
    for (const preset of ["thumb", "large"]) {
      for (const format of ["webp", "avif"] as const) {
        expect((await colorAt(pathOf(image, preset, format), 0.1, 0.5))[3]).toBe(0);
        expect((await colorAt(pathOf(image, preset, format), 0.9, 0.5))[3]).toBe(255);
      }
      expect(
        difference([[255, 255, 255]], [await colorAt(pathOf(image, preset, "jpeg"), 0.1, 0.5)]),
      ).toBeLessThan(4);
    }
    expect(difference([[200, 60, 60]], [colorOf(image.dominantColor)])).toBeLessThan(LOSS);
  });

  it("gives away nothing but its pixels", async () => {
    const secrets = quarters()
      .withExif({
        IFD0: { Copyright: "Jane Doe" },
        IFD3: { GPSLatitudeRef: "N", GPSLatitude: "51/1 30/1 0/1" },
      })
      .withXmp('<x:xmpmeta xmlns:x="adobe:ns:meta/"><city>London</city></x:xmpmeta>')
      .withIccProfile("p3");
    for (const format of ["jpeg", "png", "webp", "avif"] as const) {
      const source = await saved(secrets.clone().toFormat(format), `secrets.${format}`);
      expect((await readFile(source)).includes("Jane Doe")).toBe(true);
      const { files } = await processor.process(source, temporaryDir("presets"));
      for (const { path } of files) {
        const metadata = await sharp(path).metadata();
        expect(metadata).not.toMatchObject({ exif: expect.anything() });
        expect(metadata).not.toMatchObject({ xmp: expect.anything() });
        expect(metadata).not.toMatchObject({ icc: expect.anything() });
        const bytes = await readFile(path);
        for (const text of ["Jane Doe", "London", "GPS", "Exif"]) expect(bytes.includes(text)).toBe(false);
      }
    }
  });

  it("is the first frame of an animation", async () => {
    const frames = animation(500);
    for (const [name, image] of Object.entries({
      "a.gif": frames.clone().gif(),
      "a.webp": frames.clone().webp(),
    })) {
      const processed = await process(image, name);
      expect(processed).toMatchObject({ width: 40, height: 30 });
      for (const { path } of processed.files) {
        expect((await sharp(path).metadata()).pages ?? 1).toBe(1);
        expect(difference([[200, 60, 60]], [await colorAt(path, 0.5, 0.5)])).toBeLessThan(LOSS);
      }
    }
  });

  it.each([
    { of: [1, 1], thumb: [1, 1], large: [1, 1] },
    { of: [40, 30], thumb: [30, 30], large: [40, 30] },
    { of: [1, 50_000], thumb: [1, 1], large: [1, 1600] },
    { of: [50_000, 1], thumb: [1, 1], large: [1600, 1] },
    { of: [8000, 100], thumb: [64, 64], large: [1600, 20] },
    { of: [65_535, 64], thumb: [64, 64], large: [1600, 2] },
  ])("of $of.0 x $of.1 pixels is never enlarged", async ({ of: [width = 0, height = 0], thumb, large }) => {
    const background = { r: 200, g: 60, b: 60 };
    const image = await process(
      sharp({ create: { width, height, channels: 3, background } }).png(),
      "strip.png",
    );
    expect(image).toMatchObject({ width, height, dominantColor: "#c83c3c" });
    for (const format of MEDIA_FORMATS) {
      expect(await sizeOf(pathOf(image, "thumb", format))).toEqual(thumb);
      expect(await sizeOf(pathOf(image, "large", format))).toEqual(large);
    }
  });

  it("has a placeholder of its colours and proportions", async () => {
    const image = await process(quarters(1200, 600).jpeg(), "wide.jpg");
    const { r, g, b } = thumbHashToAverageRGBA(Buffer.from(image.thumbhash, "base64"));
    const mean = [0, 1, 2].map(
      (channel) => QUARTERS.reduce((sum, color) => sum + (color[channel] ?? 0), 0) / 4,
    );
    expect(difference([mean], [[r * 255, g * 255, b * 255]])).toBeLessThan(LOSS);
    expect(QUARTERS.some((color) => difference([color], [colorOf(image.dominantColor)]) < LOSS)).toBe(true);
  });

  it("can be made one file of, like the one made with all others", async () => {
    const source = await saved(quarters(900, 700).jpeg(), "photo.jpg");
    const folder = temporaryDir("one");
    const one = await processor.render(source, folder, { preset: "medium", format: "webp" });
    expect(one).toMatchObject({ preset: "medium", format: "webp", path: `${folder}/medium.webp` });
    expect((await readFile(one.path)).length).toBe(one.bytes);
    expect(await sharp(one.path).metadata()).toMatchObject({ width: 640, height: 498 });
    expect(difference(QUARTERS, await quarterColors(one.path))).toBeLessThan(LOSS);
  });
});

/** The picture as a camera stores it that was held in one of eight ways (EXIF 2.3, tag 0x0112). */
function asStored(orientation: number, width: number, height: number): Sharp {
  const upright = quarterPixels(width, height);
  const isOnItsSide = orientation >= 5;
  const [across, down] = isOnItsSide ? [height, width] : [width, height];
  const stored = Buffer.alloc(upright.length);
  for (let y = 0; y < down; y += 1) {
    for (let x = 0; x < across; x += 1) {
      const [right, bottom] = [width - 1, height - 1];
      const places = [
        [x, y],
        [right - x, y],
        [right - x, bottom - y],
        [x, bottom - y],
        [y, x],
        [right - y, x],
        [right - y, bottom - x],
        [y, bottom - x],
      ] as const;
      const [u, v] = places[orientation - 1] ?? places[0];
      upright.copy(stored, (y * across + x) * 3, (v * width + u) * 3, (v * width + u) * 3 + 3);
    }
  }
  return sharp(stored, { raw: { width: across, height: down, channels: 3 } });
}

/** The left half is transparent, the right one red. */
function halfTransparent(): Sharp {
  const pixels = Buffer.alloc(300 * 200 * 4);
  for (let at = 0; at < 300 * 200; at += 1) if (at % 300 >= 150) pixels.set([200, 60, 60, 255], at * 4);
  return sharp(pixels, { raw: { width: 300, height: 200, channels: 4 } });
}

/** The first frame is red, the others are blue and green in turns. */
function animation(count: number): Sharp {
  const [width, height] = [40, 30];
  const colors: readonly Color[] = [
    [200, 60, 60],
    [70, 70, 180],
    [60, 160, 60],
  ];
  const frames = Array.from({ length: count }, (_, frame) => {
    const color = colors[frame === 0 ? 0 : 1 + (frame % 2)] as Color;
    return Buffer.from(Array.from({ length: width * height }, () => color).flat());
  });
  return sharp(Buffer.concat(frames), {
    raw: { width, height: height * count, channels: 3, pageHeight: height },
  });
}

async function sizeOf(path: string): Promise<number[]> {
  const { width, height } = await sharp(path).metadata();
  return [width, height];
}

function colorOf(text: string): Color {
  return [1, 3, 5].map((at) => Number.parseInt(text.slice(at, at + 2), 16));
}
