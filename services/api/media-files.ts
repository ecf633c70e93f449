import type { Readable } from "node:stream";
import { LRUCache } from "lru-cache";
import { appError, hasType } from "../../broker/errors.ts";
import type { Config } from "../../lib/config.ts";
import { isConfigured } from "../../lib/image-settings.ts";
import { mediaKey, type MediaFile } from "../../lib/media-path.ts";
import type { ByteRange, ObjectInfo, Storage } from "../../lib/storage/storage.ts";

export interface MediaFilesParts {
  storage: Storage;
  config: Pick<Config, "IMAGE_PRESETS" | "IMAGE_FORMATS">;
  /** Has a file made that is not there. @throws IMAGE_NOT_FOUND */
  render: (file: MediaFile) => Promise<unknown>;
}

/** Files that a gateway has made at the same time; what is asked for beyond that is refused. */
const MAX_RENDERINGS = 32;
/** How long it is remembered that an image has no such file: a page may show one that was deleted many times. */
const MISSING_TTL_MS = 5000;
const MAX_MISSING = 10_000;
/** How long a file in memory is sent without a look at the storage, and so how long after it was removed there. */
const UNCHECKED_MS = 2000;
const MAX_HELD_BYTES = 67_108_864;
/** Larger ones are read each time: where it is the bytes that take the time, little is won. */
const MAX_HELD_FILE_BYTES = 524_288;
/** What an entry takes beside the bytes, or so. */
const ENTRY_BYTES = 512;

/** What is known of a file; without its bytes when only its size was asked for. */
interface Held {
  info: ObjectInfo;
  bytes?: Buffer;
  checkedAt: number;
}

/** A file, or a part of it. Whoever takes a stream reads it to its end or destroys it. */
interface FileRead {
  info: ObjectInfo;
  body: Buffer | Readable;
}

/**
 * The files of images, of which those that are not there yet are made when they are asked for. What many ask for is held
 * in memory.
 */
export class MediaFiles {
  readonly #parts: MediaFilesParts;
  readonly #renderings = new Map<string, Promise<unknown>>();
  readonly #missing = new LRUCache<string, true>({ max: MAX_MISSING, ttl: MISSING_TTL_MS });
  readonly #held = new LRUCache<string, Held>({
    maxSize: MAX_HELD_BYTES,
    sizeCalculation: ({ bytes }) => ENTRY_BYTES + (bytes?.length ?? 0),
  });

  constructor(parts: MediaFilesParts) {
    this.#parts = parts;
  }

  /**
   * @param admit throws when the client may not have a file made
   * @throws IMAGE_NOT_FOUND, STORAGE_UNAVAILABLE, OVERLOADED
   */
  async head(file: MediaFile, admit: () => Promise<void>): Promise<ObjectInfo> {
    const key = mediaKey(file);
    const held = await this.#lookInMemory(key);
    if (held) return held.info;
    const info = await this.#find(file, key, admit, () => this.#parts.storage.head(key));
    this.#held.set(key, { info, checkedAt: Date.now() });
    return info;
  }

  /** As {@link head}, with the bytes. */
  async read(file: MediaFile, admit: () => Promise<void>, range?: ByteRange): Promise<FileRead> {
    const key = mediaKey(file);
    const held = await this.#lookInMemory(key);
    if (held?.bytes) {
      const { info, bytes } = held;
      return { info, body: range ? bytes.subarray(range.start, range.end + 1) : bytes };
    }
    const checkedAt = Date.now();
    const { info, stream } = await this.#find(file, key, admit, () => this.#parts.storage.read(key, range));
    if (range || info.bytes > MAX_HELD_FILE_BYTES) return { info, body: stream };
    const bytes = await collect(stream);
    this.#held.set(key, { info, bytes, checkedAt });
    return { info, body: bytes };
  }

  /** What is held of a file that is still there. */
  async #lookInMemory(key: string): Promise<Held | undefined> {
    const held = this.#held.get(key);
    if (!held || Date.now() - held.checkedAt < UNCHECKED_MS) return held;
    // Out of the memory until it is known: if the storage fails, it must not be found there.
    this.#held.delete(key);
    const info = await this.#parts.storage.head(key);
    if (info?.bytes !== held.info.bytes || info.modifiedAt.getTime() !== held.info.modifiedAt.getTime())
      return undefined;
    const checked = { ...held, checkedAt: Date.now() };
    this.#held.set(key, checked);
    return checked;
  }

  async #find<T>(
    file: MediaFile,
    key: string,
    admit: () => Promise<void>,
    look: () => Promise<T | undefined>,
  ): Promise<T> {
    const found = await look();
    if (found) return found;
    if (!isConfigured(file, this.#parts.config)) throw appError("IMAGE_NOT_FOUND");
    await admit();
    await this.#render(file, key);
    const rendered = await look();
    if (!rendered) throw appError("IMAGE_NOT_FOUND");
    return rendered;
  }

  /** Requests for the same file share one call. */
  async #render(file: MediaFile, key: string): Promise<void> {
    if (this.#missing.has(key)) throw appError("IMAGE_NOT_FOUND");
    let rendering = this.#renderings.get(key);
    if (!rendering) {
      if (this.#renderings.size >= MAX_RENDERINGS) throw appError("OVERLOADED");
      rendering = this.#parts.render(file).finally(() => this.#renderings.delete(key));
      this.#renderings.set(key, rendering);
    }
    try {
      await rendering;
    } catch (error) {
      if (hasType(error, "IMAGE_NOT_FOUND")) this.#missing.set(key, true);
      throw error;
    }
  }
}

async function collect(stream: Readable): Promise<Buffer> {
  const chunks = (await stream.toArray()) as Buffer[];
  const [first = Buffer.alloc(0)] = chunks;
  return chunks.length <= 1 ? first : Buffer.concat(chunks);
}
