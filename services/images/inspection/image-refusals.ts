import type { Errors } from "moleculer";
import { appError } from "../../../broker/errors.ts";

/** The bytes are of no type that is accepted. */
export const unsupportedType = (): Errors.MoleculerError =>
  appError("UNSUPPORTED_IMAGE_TYPE", { detail: "The file is no JPEG, PNG, WebP, GIF or still AVIF image." });

export const damaged = (): Errors.MoleculerError =>
  appError("IMAGE_UNREADABLE", { detail: "The image is damaged or cut off." });

/** Also what an image gets that makes its reader crash. */
export const tooMuchWork = (): Errors.MoleculerError =>
  appError("IMAGE_UNREADABLE", { detail: "The image takes too much work to read." });

export const tooMuchMemory = (): Errors.MoleculerError =>
  appError("IMAGE_TOO_LARGE", { detail: "The image takes too much memory to read." });

/** @param accepted how many pixels an image may have that is stored as this one is */
export const tooManyPixels = (pixels: number, accepted: number): Errors.MoleculerError =>
  appError("IMAGE_TOO_LARGE", {
    detail: `The image has ${megapixels(pixels, "ceil")} megapixels; an image of its kind may have ${megapixels(accepted, "floor")}.`,
  });

export const sideTooLong = (pixels: number, accepted: number): Errors.MoleculerError =>
  appError("IMAGE_TOO_LARGE", {
    detail: `The image has a side of ${pixels} pixels; it may have ${accepted}.`,
  });

const megapixels = (pixels: number, roundingMode: "ceil" | "floor"): string =>
  (pixels / 1e6).toLocaleString("en", { maximumFractionDigits: 1, roundingMode });
