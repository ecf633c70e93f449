import type { Readable } from "node:stream";

/** A file on the disk of this node that is to be stored. */
export interface LocalFile {
  path: string;
  bytes: number;
  /** Media type, given back when a client reads the object from the storage itself. */
  contentType: string;
}

/** What is known of an object without reading it. */
export interface ObjectInfo {
  key: string;
  bytes: number;
  modifiedAt: Date;
}

/** So many objects may be read at the same time for readers that take as long as they like. */
export const MAX_SLOW_READS = 400;

/** Bytes `start` to `end` of an object, both included, counted from 0. */
export interface ByteRange {
  start: number;
  end: number;
}

/** What a client needs to put one object into the storage itself. */
export interface DirectPut {
  url: string;
  /** To be sent as they are: they are part of what is signed. */
  headers: Readonly<Record<string, string>>;
}

/**
 * Where the bytes of images are. Keys are paths of `[a-z0-9._-]` segments, such as `originals/<hash>`; a key that could
 * leave its folder is a defect of the caller and throws.
 *
 * Every method throws STORAGE_UNAVAILABLE, after a bounded time, when the storage does not answer as it should; so do the
 * streams.
 */
export interface Storage {
  /** Stores a file under a key, whole or not at all. What was there is replaced; the file stays. */
  put(key: string, file: LocalFile): Promise<void>;
  /** Undefined when there is no such object. */
  head(key: string): Promise<ObjectInfo | undefined>;
  /**
   * The bytes of an object, or of a range that lies within it; undefined when there is no such object. Whoever takes
   * the stream reads it to its end or destroys it.
   */
  read(key: string, range?: ByteRange): Promise<{ info: ObjectInfo; stream: Readable } | undefined>;
  /** Removes objects, which stay removed when the machine crashes. One that is not there counts as removed. */
  remove(keys: readonly string[]): Promise<void>;
  /** The objects below a prefix that ends in `/`, ascending by key (by code unit), those after `after` only. */
  list(prefix: string, after?: string): AsyncIterable<ObjectInfo>;
  /**
   * Lets a client put an object of exactly this size and type itself; undefined: this storage has no address of its
   * own, and the gateway takes the bytes.
   */
  directPut(
    key: string,
    options: { bytes: number; contentType: string; expiresInSeconds: number },
  ): Promise<DirectPut | undefined>;
  /** Resolves when the storage works: it can be written to. */
  check(): Promise<void>;
  close(): void;
}
