import { mediaKey, mediaPrefix, mediaType, originalKey } from "../../lib/media-path.ts";
import { saveStream } from "../../lib/saved-stream.ts";
import type { LocalFile, Storage } from "../../lib/storage/storage.ts";
import type { PresetFile } from "./image-processor.ts";
import type { ImageRecord } from "./images.domain.ts";
import { bytesDiffer } from "./images.errors.ts";

/** What names the files of an image. */
export type FileOwner = Pick<ImageRecord, "visibility" | "hash">;

/** Requests to the storage for one image at the same time. */
const CONCURRENCY = 4;

/**
 * Stores the original and the presets of an image. When one fails, no further one is begun, and it ends when nothing is
 * under way any more: what is removed then stays removed.
 *
 * @throws STORAGE_UNAVAILABLE
 */
export async function storeFiles(
  storage: Storage,
  image: FileOwner,
  original: LocalFile,
  files: readonly PresetFile[],
): Promise<void> {
  const queue: [string, LocalFile][] = [[originalKey(image.hash), original]];
  for (const file of files) queue.push([presetKey(image, file), toLocalFile(file)]);
  const work = async (): Promise<void> => {
    try {
      for (let next = queue.shift(); next; next = queue.shift()) await storage.put(...next);
    } finally {
      queue.length = 0;
    }
  };
  const results = await Promise.allSettled(Array.from({ length: CONCURRENCY }, work));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

/** Stores one file of an image. @throws STORAGE_UNAVAILABLE */
export function storeFile(storage: Storage, image: FileOwner, file: PresetFile): Promise<void> {
  return storage.put(presetKey(image, file), toLocalFile(file));
}

function presetKey({ visibility, hash }: FileOwner, { preset, format }: PresetFile): string {
  return mediaKey({ visibility, hash, preset, format });
}

function toLocalFile({ path, bytes, format }: PresetFile): LocalFile {
  return { path, bytes, contentType: mediaType(format) };
}

/**
 * Removes the original and everything that was ever made of an image, also in presets that are no longer configured.
 *
 * @throws STORAGE_UNAVAILABLE
 */
export async function removeFiles(storage: Storage, { visibility, hash }: FileOwner): Promise<void> {
  const files = await Array.fromAsync(storage.list(mediaPrefix(visibility, hash)), ({ key }) => key);
  await storage.remove([originalKey(hash), ...files]);
}

/** What bytes are expected to be. */
export interface ExpectedBytes {
  bytes: number;
  /** Unknown of bytes that a client has sent to the storage itself. */
  sha256?: string | undefined;
}

/**
 * Copies an object to a file on the disk of this node.
 *
 * @returns the SHA-256 of its bytes, as hex; undefined when there is no such object
 * @throws STORAGE_UNAVAILABLE also when the bytes are other than expected
 */
export async function fetchObject(
  storage: Storage,
  key: string,
  path: string,
  expected: ExpectedBytes,
): Promise<string | undefined> {
  const object = await storage.read(key);
  if (!object) return undefined;
  const limits = { limitBytes: expected.bytes, exceeded: () => bytesDiffer(key) };
  const { bytes, sha256 } = await saveStream(object.stream, { path, ...limits });
  const isSame = bytes === expected.bytes && (expected.sha256 === undefined || expected.sha256 === sha256);
  if (!isSame) throw bytesDiffer(key);
  return sha256;
}
