import type { ImagePreset } from "../../../lib/image-settings.ts";

/** Width and height in pixels. */
export interface Size {
  width: number;
  height: number;
}

/** Of a strip that is cropped to a square it would take much of its length to keep all of its short side. */
const MAX_MASTER_PIXELS = 16_000_000;

/** The size of an image in a preset. It is never larger than the image. */
export function presetSize(image: Size, preset: ImagePreset): Size {
  if (preset.fit === "cover") {
    // The crop keeps its proportions when the image is smaller than it.
    const scale = Math.min(1, image.width / preset.width, image.height / preset.height);
    return scaled(preset, scale);
  }
  return scaled(image, insideScale(image, preset));
}

/** The smallest size of the whole image from which each of the presets can be made without enlarging. */
export function masterSize(image: Size, presets: readonly ImagePreset[]): Size {
  const inside = presets.filter(({ fit }) => fit === "inside").map((preset) => insideScale(image, preset));
  const cover = presets
    .filter(({ fit }) => fit === "cover")
    .map((preset) => Math.min(1, Math.max(preset.width / image.width, preset.height / image.height)));
  const bound = Math.sqrt(MAX_MASTER_PIXELS / (image.width * image.height));
  return scaled(image, Math.max(...inside, Math.min(bound, Math.max(...cover))));
}

function insideScale(image: Size, { width, height }: Size): number {
  return Math.min(1, width / image.width, height / image.height);
}

function scaled({ width, height }: Size, scale: number): Size {
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
