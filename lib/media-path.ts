import { createHash } from "node:crypto";

/** Who may read the files of an image: whoever knows the URL, or whoever was given a signed one. */
export const VISIBILITIES = ["public", "private"] as const;
export type Visibility = (typeof VISIBILITIES)[number];

/** Formats in which presets are stored, the smallest files first; each is also the extension. */
export const MEDIA_FORMATS = ["avif", "webp", "jpeg"] as const;
export type MediaFormat = (typeof MEDIA_FORMATS)[number];

/** Media type of a format in which an image is stored or has arrived, such as `image/webp` (RFC 6838). */
export function mediaType(format: string): string {
  return `image/${format}`;
}

/** What names of presets look like: in XML, elements are named so. */
export const PRESET_NAME = /[a-z][a-z\d-]{0,31}/;

/** One file that is served. */
export interface MediaFile {
  visibility: Visibility;
  /** `mediaHash` of the image. */
  hash: string;
  /** Name of the preset. */
  preset: string;
  format: MediaFormat;
}

/**
 * The hash in the URLs of an image: SHA-256, as hex, of its id and its bytes. So the files below a URL never change, and
 * identical bytes of two users have nothing in common: neither URLs that tell of each other nor files that one of them
 * could delete.
 *
 * @param sha256 of the uploaded bytes, as hex
 */
export function mediaHash(imageId: string, sha256: string): string {
  return createHash("sha256").update(`${imageId}:${sha256}`).digest("hex");
}

/** The path at the gateway: public `/media/<hash>/<preset>.<format>`, private `/media/private/<hash>/…`. */
export function mediaPath({ visibility, hash, preset, format }: MediaFile): string {
  const base = visibility === "private" ? "/media/private" : "/media";
  return `${base}/${hash}/${preset}.${format}`;
}

const PATH = new RegExp(
  `^/media/(private/)?([\\da-f]{64})/(${PRESET_NAME.source})\\.(${MEDIA_FORMATS.join("|")})$`,
);

/** The file that {@link mediaPath} leads to; undefined when the path is none of those. */
export function parseMediaPath(path: string): MediaFile | undefined {
  const [, isPrivate, hash = "", preset = "", format] = PATH.exec(path) ?? [];
  if (format === undefined) return undefined;
  const visibility = isPrivate === undefined ? "public" : "private";
  return { visibility, hash, preset, format: format as MediaFormat };
}

/** The path at the gateway to which a client sends the bytes of a direct upload. @param uploadId or the name of a parameter */
export function directUploadPath(uploadId: string): string {
  return `/api/v1/uploads/${uploadId}`;
}

/** Key in the storage of a file that is served. */
export function mediaKey({ visibility, hash, preset, format }: MediaFile): string {
  return `${mediaPrefix(visibility, hash)}${preset}.${format}`;
}

/** What the keys of all files of an image that are served begin with. */
export function mediaPrefix(visibility: Visibility, hash: string): string {
  return `media/${visibility}/${hash}/`;
}

/** Key of the uploaded bytes, which are kept to make presets from and never served. */
export function originalKey(hash: string): string {
  return `originals/${hash}`;
}

/** Key of bytes that have arrived and are no image yet. */
export function uploadKey(uploadId: string): string {
  return `uploads/${uploadId}`;
}
