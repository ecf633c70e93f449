import { randomUUID } from "node:crypto";
import { stat, unlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import type { Logger } from "pino";
import { makeFolder } from "../make-folder.ts";
import { createSweep } from "../sweep.ts";
import {
  entriesOf,
  openFile,
  removeFile,
  removeLeftovers,
  syncNearest,
  unlessMissing,
  writeWhole,
} from "./disk-files.ts";
import { listFolder, pathOf } from "./disk-layout.ts";
import { availableInTime, watchedStream, type Work } from "./failures.ts";
import { requireKey, requirePrefix } from "./key.ts";
import type { ByteRange, LocalFile, ObjectInfo, Storage } from "./storage.ts";

interface DiskStorageOptions {
  /** Folder of the objects, the same for all nodes. */
  root: string;
  timeoutMs: number;
  log: Logger;
}

/** Holds what is being written. The name is no segment of a key. */
const UNFINISHED = "~unfinished";

/** Objects as files below a folder, which several nodes may share. */
export class DiskStorage implements Storage {
  readonly #root: string;
  readonly #unfinished: string;
  readonly #timeoutMs: number;
  readonly #log: Logger;
  readonly #sweep: ReturnType<typeof createSweep>;

  constructor({ root, timeoutMs, log }: DiskStorageOptions) {
    this.#root = resolve(root);
    this.#unfinished = join(this.#root, UNFINISHED);
    this.#timeoutMs = timeoutMs;
    this.#log = log;
    const sweep = (): Promise<void> => this.#attempt("sweep", () => removeLeftovers(this.#unfinished));
    this.#sweep = createSweep(sweep);
    this.#sweep.start();
    void sweep().catch(() => undefined);
  }

  async put(key: string, file: LocalFile): Promise<void> {
    requireKey(key);
    const path = pathOf(this.#root, key);
    const temporary = join(this.#unfinished, randomUUID());
    await this.#attempt("put", (signal, progress) => writeWhole(file, { temporary, path, signal, progress }));
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    requireKey(key);
    return this.#attempt("head", () =>
      unlessMissing(async () => {
        const stats = await stat(pathOf(this.#root, key));
        return stats.isFile() ? { key, bytes: stats.size, modifiedAt: stats.mtime } : undefined;
      }),
    );
  }

  async read(key: string, range?: ByteRange): Promise<{ info: ObjectInfo; stream: Readable } | undefined> {
    requireKey(key);
    return this.#attempt("read", (signal) =>
      unlessMissing(async () => {
        const file = await openFile(pathOf(this.#root, key), signal);
        if (!file) return undefined;
        const { handle, size, mtime } = file;
        // With an end, the stream need not look for more. An empty file has no last byte.
        const { start = 0, end = size > 0 ? size - 1 : undefined } = range ?? {};
        const source = handle.createReadStream({ start, ...(end !== undefined && { end }) });
        const info = { key, bytes: size, modifiedAt: mtime };
        return { info, stream: watchedStream(source, this.#timeoutMs) };
      }),
    );
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) requireKey(key);
    await this.#attempt("remove", async (signal, progress) => {
      const changed = new Set<string>();
      for (const key of keys) {
        signal.throwIfAborted();
        changed.add(await removeFile(this.#root, pathOf(this.#root, key)));
        progress();
      }
      for (const folder of changed) {
        await syncNearest(folder);
        progress();
      }
    });
  }

  async *list(prefix: string, after = ""): AsyncIterable<ObjectInfo> {
    requirePrefix(prefix);
    const read = (path: string) => this.#attempt("list", () => entriesOf(path));
    for await (const key of listFolder(prefix, after, { root: this.#root, read })) {
      // It may have been removed since.
      const info = await this.head(key);
      if (info) yield info;
    }
  }

  async directPut(key: string): Promise<undefined> {
    requireKey(key);
  }

  async check(): Promise<void> {
    const probe = join(this.#unfinished, randomUUID());
    await availableInTime(this.#timeoutMs, async () => {
      await makeFolder(this.#unfinished);
      // Not empty: for a file without content there is room also on a full disk.
      await writeFile(probe, "probe");
      await unlink(probe);
    });
  }

  close(): void {
    this.#sweep.stop();
  }

  #attempt<T>(operation: string, work: Work<T>): Promise<T> {
    return availableInTime(this.#timeoutMs, work, (err) =>
      this.#log.warn({ err, operation }, "the storage has failed"),
    );
  }
}
