import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { unlessDiskFull } from "./disk-full.ts";

/** What a stream has carried. */
export interface SavedBytes {
  bytes: number;
  /** As hex. */
  sha256: string;
}

interface SavedStreamOptions {
  /** There is no such file yet. It will be readable by this user only. */
  path: string;
  limitBytes: number;
  /** What it fails with when there are more bytes. No more than the limit reaches the disk. */
  exceeded: () => Error;
}

/**
 * Writes a stream to a new file, piece by piece: a disk that is slow slows the source down. The stream is destroyed when
 * the file cannot take it; the file stays, however it ended.
 *
 * @throws STORAGE_UNAVAILABLE when the disk is full, and what the stream fails with
 */
export async function saveStream(
  stream: Readable,
  { path, ...limit }: SavedStreamOptions,
): Promise<SavedBytes> {
  // It may fail while the file is opened, when nobody reads it yet; whoever does is told.
  stream.on("error", () => undefined);
  try {
    return await unlessDiskFull(async () => {
      const file = await open(path, "wx", 0o600);
      try {
        return await copy(stream, file, limit);
      } finally {
        await file.close();
      }
    });
  } finally {
    stream.destroy();
  }
}

async function copy(
  stream: Readable,
  file: FileHandle,
  { limitBytes, exceeded }: Omit<SavedStreamOptions, "path">,
): Promise<SavedBytes> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limitBytes) throw exceeded();
    hash.update(chunk);
    await file.appendFile(chunk);
  }
  return { bytes, sha256: hash.digest("hex") };
}
