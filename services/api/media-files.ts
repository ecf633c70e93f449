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
/** As much again as is held. */
const MAX_LENT_BYTES = MAX_HELD_BYTES;
/** What an entry takes beside the bytes, or so. */
const ENTRY_BYTES = 512;

/** What is known of a file; without its bytes when only its size was asked for. */
export interface KnownFile {
  readonly info: ObjectInfo;
  /** Its ETag: were the object made anew, it would be another one. */
  readonly tag: string;
  readonly bytes?: Buffer;
}

interface Held extends KnownFile {
  /** When the storage was asked for it. */
  checkedAt: number;
  /** While the storage is asked again. */
  check?: Promise<Held | undefined> | undefined;
}

/** A file, or a part of it. Whoever takes a stream reads it to its end or destroys it. */
interface FileRead extends KnownFile {
  body: Buffer | Readable;
}

/**
 * The files of images, of which those that are not there yet are made when they are asked for. What many ask for is held
 * in memory.
 */
export class MediaFiles {
  readonly #parts: MediaFilesParts;
  readonly #renderings = new Map<string, Promise<unknown>>();
  /** Of whole files, by key, until they are in memory. */
  readonly #reads = new Map<string, Promise<FileRead | undefined>>();
  /** In memory for reads and clients that are under way, be they held or not. */
  #lentBytes = 0;
  readonly #missing = new LRUCache<string, true>({ max: MAX_MISSING, ttl: MISSING_TTL_MS });
  readonly #held = new LRUCache<string, Held>({
    maxSize: MAX_HELD_BYTES,
    sizeCalculation: ({ bytes }) => ENTRY_BYTES + (bytes?.length ?? 0),
  });

  constructor(parts: MediaFilesParts) {
    this.#parts = parts;
  }

  /** What is held of a file that was in the storage a moment ago: of most that is asked for, and without a promise. */
  recall(file: MediaFile): KnownFile | undefined {
    const held = this.#held.get(mediaKey(file));
    return held && isFresh(held) ? held : undefined;
  }

  /**
   * @param admit throws when the client may not have a file made
   * @throws IMAGE_NOT_FOUND, STORAGE_UNAVAILABLE, OVERLOADED
   */
  async head(file: MediaFile, admit: () => Promise<void>): Promise<KnownFile> {
    const key = mediaKey(file);
    const held = await this.#lookInMemory(key);
    if (held) return held;
    const checkedAt = Date.now();
    const info = await this.#find(file, key, admit, () => this.#parts.storage.head(key));
    return this.#hold(key, { info, tag: tagOf(info), checkedAt });
  }

  /** As {@link head}, with the bytes. */
  async read(file: MediaFile, admit: () => Promise<void>, range?: ByteRange): Promise<FileRead> {
    const key = mediaKey(file);
    const held = await this.#lookInMemory(key);
    if (held?.bytes) return { ...held, body: partOf(held.bytes, range) };
    return this.#find(file, key, admit, () => (range ? this.#open(key, range) : this.#readWhole(key)));
  }

  /**
   * Says that bytes from here wait for a client that is slow to take them. While there are many of those, files that are
   * not in memory are sent as they are read.
   *
   * @returns what to call when they wait no more
   */
  lend(bytes: number): () => void {
    this.#lentBytes += bytes;
    return () => (this.#lentBytes -= bytes);
  }

  #hold(key: string, held: Held): Held {
    this.#held.set(key, held);
    return held;
  }

  /** What is held of a file that is still there. Requests that come together share the look at the storage. */
  async #lookInMemory(key: string): Promise<Held | undefined> {
    const held = this.#held.get(key);
    if (!held || isFresh(held)) return held;
    return (held.check ??= this.#check(key, held));
  }

  async #check(key: string, held: Held): Promise<Held | undefined> {
    try {
      const checkedAt = Date.now();
      const info = await this.#parts.storage.head(key);
      if (info && tagOf(info) === held.tag) {
        held.checkedAt = checkedAt;
        return held;
      }
      this.#held.delete(key);
      return undefined;
    } finally {
      held.check = undefined;
    }
  }

  /** Those who ask for a small file together get the same bytes; a large one is read for each of them. */
  async #readWhole(key: string): Promise<FileRead | undefined> {
    const underWay = this.#reads.get(key);
    if (underWay) {
      const shared = await underWay;
      return shared && !Buffer.isBuffer(shared.body) ? this.#open(key) : shared;
    }
    const read = this.#readIntoMemory(key).finally(() => this.#reads.delete(key));
    this.#reads.set(key, read);
    return read;
  }

  /** Not when it is large, or when there is much in memory that clients are slow to take. */
  async #readIntoMemory(key: string): Promise<FileRead | undefined> {
    const checkedAt = Date.now();
    const file = await this.#open(key);
    if (!file || file.info.bytes > MAX_HELD_FILE_BYTES || this.#lentBytes > MAX_LENT_BYTES) return file;
    const { info, tag, body: stream } = file;
    const giveBack = this.lend(info.bytes);
    try {
      const bytes = await collect(stream);
      this.#hold(key, { info, tag, bytes, checkedAt });
      return { info, tag, body: bytes };
    } finally {
      giveBack();
    }
  }

  async #open(key: string, range?: ByteRange): Promise<(KnownFile & { body: Readable }) | undefined> {
    const found = await this.#parts.storage.read(key, range);
    return found && { info: found.info, tag: tagOf(found.info), body: found.stream };
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

function isFresh({ checkedAt }: Held): boolean {
  return Date.now() - checkedAt < UNCHECKED_MS;
}

function tagOf({ bytes, modifiedAt }: ObjectInfo): string {
  return `"${modifiedAt.getTime().toString(36)}-${bytes.toString(36)}"`;
}

/** A view of the bytes. */
function partOf(bytes: Buffer, range: ByteRange | undefined): Buffer {
  return range ? bytes.subarray(range.start, range.end + 1) : bytes;
}

async function collect(stream: Readable): Promise<Buffer> {
  const chunks = (await stream.toArray()) as Buffer[];
  const [first = Buffer.alloc(0)] = chunks;
  return chunks.length <= 1 ? first : Buffer.concat(chunks);
}
