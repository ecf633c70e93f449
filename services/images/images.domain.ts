import { largestPreset, type ImagePreset } from "../../lib/image-settings.ts";
import { mediaHash, type MediaFormat, type Visibility } from "../../lib/media-path.ts";
import type { Principal } from "../../lib/principal.ts";
import type { ProcessedImage } from "./image-processor.ts";
import { imageNotFound } from "./images.errors.ts";
import type { ImageFacts } from "./images.events.ts";

/** An image as it is stored. */
export interface ImageRecord extends Omit<ImageFacts, "version"> {
  /** The version of the user that it was made for. */
  userVersion: number;
  /** `mediaHash`: names its files. */
  hash: string;
}

/** Uploaded bytes with what was made of them. */
export interface ReceivedImage extends Omit<ProcessedImage, "files"> {
  bytes: number;
  sha256: string;
}

interface NewImage {
  id: string;
  owner: { id: string; version: number };
  visibility: Visibility;
  received: ReceivedImage;
}

/** Everything of a new image but when it is made, which is known when its row is written. */
export function newImage({ id, owner, visibility, received }: NewImage): Omit<ImageRecord, "createdAt"> {
  const { format, width, height, bytes, sha256, thumbhash, dominantColor } = received;
  return {
    id,
    userId: owner.id,
    userVersion: owner.version,
    visibility,
    hash: mediaHash(id, sha256),
    format,
    width,
    height,
    bytes,
    sha256,
    thumbhash,
    dominantColor,
  };
}

/** What everybody may know of an image who may know of it: in events, too. */
export function factsOf(record: ImageRecord): ImageFacts {
  return {
    id: record.id,
    userId: record.userId,
    visibility: record.visibility,
    format: record.format,
    width: record.width,
    height: record.height,
    bytes: record.bytes,
    sha256: record.sha256,
    thumbhash: record.thumbhash,
    dominantColor: record.dominantColor,
    version: 1,
    createdAt: record.createdAt,
  };
}

/** What follows the only version of an image. */
export const DELETED_VERSION = 2;

/**
 * Makes sure that an image is there for whoever asks. The access table has let in users, admins, and keys with the
 * scope; of users, only the one whose image it is may know that there is one.
 *
 * @throws IMAGE_NOT_FOUND
 */
export function requireImage(
  record: ImageRecord | undefined,
  id: string,
  principal: Principal | undefined,
): asserts record is ImageRecord {
  const isOthers =
    principal?.kind === "user" && principal.role !== "admin" && principal.id !== record?.userId;
  if (!record || !principal || isOthers) throw imageNotFound(id);
}

/** The preset and format in which a user shows its images: the largest, in a format that every client has. */
export function shownFile(
  presets: readonly ImagePreset[],
  formats: readonly MediaFormat[],
): { preset: string; format: MediaFormat } {
  const format = formats.includes("jpeg") ? "jpeg" : "webp";
  return { preset: largestPreset(presets).name, format };
}
