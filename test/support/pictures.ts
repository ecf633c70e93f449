import { randomBytes } from "node:crypto";

import sharp from "sharp";

interface PictureOptions {
  readonly width?: number;
  readonly height?: number;
  readonly format?: "jpeg" | "png" | "webp" | "avif" | "gif";
}

/** An image of noise, so that no two are alike and its file is as large as one of its size can be. */
export function noisePicture({
  width = 64,
  height = 48,
  format = "png",
}: PictureOptions = {}): Promise<Buffer> {
  const raw = { width, height, channels: 3 } as const;
  return sharp(randomBytes(width * height * 3), { raw })
    .toFormat(format)
    .toBuffer();
}
