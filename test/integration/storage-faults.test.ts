import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { randomBytes, randomUUID } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { join, relative } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from "@jest/globals";

import { DiskStorage } from "../../lib/storage/disk.ts";
import { S3Storage } from "../../lib/storage/s3.ts";
import type { LocalFile, Storage } from "../../lib/storage/storage.ts";
import { freePort } from "../support/ports.ts";
import { startS3Proxy, type S3Fault, type S3Proxy } from "../support/s3-proxy.ts";
import { startS3, type TestS3 } from "../support/s3-server.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { temporaryDir } from "../support/test-run.ts";
import { waitFor } from "../support/wait-for.ts";

const UNAVAILABLE = { type: "STORAGE_UNAVAILABLE", code: 503, retryable: true };
/** How long a storage may be silent. */
const TIMEOUT_MS = 2000;

function fileOf(bytes: Buffer): LocalFile {
  const path = join(temporaryDir("file"), "file");
  writeFileSync(path, bytes);
  return { path, bytes: bytes.length, contentType: "image/webp" };
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>));
}

async function expectUnavailable(operations: readonly Promise<unknown>[]): Promise<void> {
  await Promise.all(operations.map((operation) => expect(operation).rejects.toMatchObject(UNAVAILABLE)));
}

describe("a storage on S3", () => {
  let s3: TestS3;
  let proxy: S3Proxy;
  /** By way of the proxy. */
  let storage: Storage;
  /** By way of the proxy, and with time. */
  let patient: Storage;
  /** Without it, and with time. */
  let direct: Storage;

  const storageAt = (endpoint: string, timeoutMs: number): S3Storage =>
    new S3Storage({
      endpoint,
      publicEndpoint: "https://files.example.com",
      region: "us-east-1",
      bucket: s3.bucket,
      accessKeyId: s3.accessKeyId,
      secretAccessKey: s3.secretAccessKey,
      isPathStyle: true,
      timeoutMs,
      log: silentLogger,
    });

  beforeAll(async () => {
    s3 = await startS3();
    proxy = await startS3Proxy(s3.url);
    storage = storageAt(proxy.url, TIMEOUT_MS);
    patient = storageAt(proxy.url, 20_000);
    direct = storageAt(s3.url, 20_000);
  });

  beforeEach(() => {
    proxy.fault = "none";
    proxy.concerns = () => true;
  });

  afterAll(async () => {
    for (const each of [storage, patient, direct]) each.close();
    await Promise.all([proxy.stop(), s3.stop()]);
  });

  const everyOperation = (one: Storage, key: string): Promise<unknown>[] => [
    one.put(key, fileOf(randomBytes(100_000))),
    one.head(key),
    one.read(key),
    one.remove([key]),
    Array.fromAsync(one.list("faults/")),
    one.check(),
  ];

  test.each<S3Fault>(["busy", "silent", "deaf"])(
    "is not available while its server is %s, in bounded time, and stores nothing",
    async (fault) => {
      proxy.fault = fault;
      const key = `faults/${randomUUID()}`;
      await expectUnavailable(everyOperation(storage, key));
      expect(await direct.head(key)).toBeUndefined();
    },
  );

  test("is not available while nobody listens, and is again afterwards", async () => {
    const alone = storageAt(`http://127.0.0.1:${await freePort()}`, TIMEOUT_MS);
    await expectUnavailable(everyOperation(alone, "faults/one"));
    alone.close();
    proxy.fault = "busy";
    await expect(patient.check()).rejects.toMatchObject(UNAVAILABLE);
    proxy.fault = "none";
    await expect(patient.check()).resolves.toBeUndefined();
  });

  test("gives up an upload of which the server takes no bytes", async () => {
    proxy.fault = "deaf";
    // More than the buffers between here and there hold.
    await expect(storage.put("faults/large", fileOf(randomBytes(10_485_760)))).rejects.toMatchObject(
      UNAVAILABLE,
    );
    expect(await direct.head("faults/large")).toBeUndefined();
  });

  test.each<S3Fault>(["half-answer", "broken-answer"])(
    "fails a reader whose bytes end in the middle: %s",
    async (fault) => {
      await direct.put("faults/read", fileOf(randomBytes(3_000_000)));
      proxy.fault = fault;
      const reading = storage.read("faults/read").then((found) => found && bytesOf(found.stream));
      await expect(reading).rejects.toMatchObject(UNAVAILABLE);
    },
  );

  test("waits for a reader that takes longer than the server may", async () => {
    const bytes = randomBytes(3_000_000);
    await direct.put("faults/slow", fileOf(bytes));
    const slow = storageAt(proxy.url, 2 * TIMEOUT_MS);
    const found = await slow.read("faults/slow");
    await once(found?.stream ?? process, "readable");
    await sleep(3 * TIMEOUT_MS);
    expect(found && (await bytesOf(found.stream)).equals(bytes)).toBe(true);
    slow.close();
  });

  test.each<S3Fault>(["busy", "reset"])("tries once more what has failed once: %s", async (fault) => {
    await direct.put("faults/again", fileOf(randomBytes(10)));
    // Without connections that the server has left idle for so long that it is about to close them.
    const fresh = storageAt(proxy.url, 20_000);
    const operations = [
      () => fresh.put("faults/again", fileOf(randomBytes(100_000))),
      () => fresh.head("faults/again"),
      () => fresh.remove(["faults/again-2"]),
      () => fresh.check(),
    ];
    for (const operation of operations) {
      const count = proxy.requests.length;
      proxy.fault = fault;
      proxy.concerns = () => proxy.requests.length === count + 1;
      await operation();
      expect(proxy.requests).toHaveLength(count + 2);
    }
    fresh.close();
  });

  test("has connections left while hundreds of readers are slow", async () => {
    await direct.put("faults/slowly", fileOf(randomBytes(1_000_000)));
    const reading = Array.from({ length: 200 }, () => direct.read("faults/slowly"));
    const found = await Promise.all(reading);
    await expect(direct.put("faults/beside", fileOf(randomBytes(10)))).resolves.toBeUndefined();
    for (const each of found) each?.stream.destroy();
  });

  test("keeps no connection for readers that have left", async () => {
    await direct.put("faults/left", fileOf(randomBytes(3_000_000)));
    for (let index = 0; index < 20; index += 1) (await patient.read("faults/left"))?.stream.destroy();
    const areClosed = waitFor(async () => (await proxy.connections()) <= 2, {
      description: "the connections to be closed",
    });
    await expect(areClosed).resolves.toBe(true);
  });

  test("is not available when there is no such bucket, rather than empty", async () => {
    const other = new S3Storage({
      endpoint: s3.url,
      publicEndpoint: undefined,
      region: "us-east-1",
      bucket: "another",
      accessKeyId: s3.accessKeyId,
      secretAccessKey: s3.secretAccessKey,
      isPathStyle: true,
      timeoutMs: 20_000,
      log: silentLogger,
    });
    await expect(other.read("a")).rejects.toMatchObject(UNAVAILABLE);
    await expect(other.check()).rejects.toMatchObject(UNAVAILABLE);
    other.close();
  });

  test("removes objects also where MD5 is the only checksum that is known", async () => {
    const keys = ["faults/removed-1", "faults/removed-2"];
    for (const key of keys) await direct.put(key, fileOf(randomBytes(10)));
    await patient.remove(keys);
    for (const key of keys) expect(await direct.head(key)).toBeUndefined();
  });

  test("lets a client put one object of a size and a type, at the public address", async () => {
    const put = await storage.directPut("uploads/1", {
      bytes: 7,
      contentType: "image/png",
      expiresInSeconds: 600,
    });
    expect(put?.headers).toEqual({ "content-length": "7", "content-type": "image/png" });
    const url = new URL(put?.url ?? "");
    expect([url.origin, url.pathname]).toEqual(["https://files.example.com", `/${s3.bucket}/uploads/1`]);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      "X-Amz-Expires": "600",
      "X-Amz-SignedHeaders": "content-length;content-type;host",
    });
    // The test server cannot check the signature; that it takes the request is what can be seen.
    const here = `${s3.url}${url.pathname}${url.search}`;
    const { status } = await fetch(here, {
      method: "PUT",
      body: "content",
      headers: { "content-type": "image/png" },
    });
    expect(status).toBe(200);
    expect(await direct.head("uploads/1")).toMatchObject({ bytes: 7 });
  });
});

describe("a storage on disk", () => {
  const opened: Storage[] = [];
  let disk: FrozenDisk;

  beforeAll(() => {
    disk = new FrozenDisk();
  });

  const storageIn = (root: string, timeoutMs = 20_000): Storage => {
    const storage = new DiskStorage({ root, timeoutMs, log: silentLogger });
    opened.push(storage);
    return storage;
  };

  afterEach(async () => {
    await disk.thaw();
    for (const storage of opened.splice(0)) storage.close();
    jest.restoreAllMocks();
  });

  test("is not available when its folder cannot be written to or read", async () => {
    const file = fileOf(randomBytes(10));
    const storage = storageIn(join(file.path, "images"));
    await expect(storage.put("a/b", file)).rejects.toMatchObject(UNAVAILABLE);
    await expect(storage.check()).rejects.toMatchObject(UNAVAILABLE);
  });

  test("fails a reader whose bytes cannot be read", async () => {
    const root = temporaryDir("images");
    mkdirSync(join(root, "faults"));
    // A regular file, of which the first bytes cannot be read.
    symlinkSync("/proc/self/mem", join(root, "faults/read"));
    const found = await storageIn(root).read("faults/read");
    await expect(found && bytesOf(found.stream)).rejects.toMatchObject(UNAVAILABLE);
  });

  test("fails a reader whose bytes do not come any more, in bounded time", async () => {
    const root = temporaryDir("images");
    await storageIn(root).put("faults/read", fileOf(randomBytes(3_000_000)));
    const hanging = storageIn(root, TIMEOUT_MS);
    const reading = hanging.read("faults/read").then((found) => {
      disk.freeze();
      return found && bytesOf(found.stream);
    });
    await expect(reading).rejects.toMatchObject(UNAVAILABLE);
  });

  test("syncs the folders that have changed before it says that files are stored or removed", async () => {
    const root = temporaryDir("images");
    const storage = storageIn(root);
    const synced = await watchSyncs(root);
    const file = fileOf(randomBytes(10));
    const keys = ["a/b/1", "a/b/2", "a/b/3", "a/c/1"];
    for (const key of keys) await storage.put(key, file);
    // The files themselves are synced before they are moved.
    const folders = () => synced.splice(0).filter((path) => !path.startsWith("~unfinished/"));
    expect(folders()).toEqual(["a/b", "a", "", "a/b", "a/b", "a/c", "a"]);
    await storage.remove(["a/b/1", "a/b/2"]);
    expect(folders()).toEqual(["a/b"]);
    await storage.remove(["a/b/3", "a/b/1"]);
    expect(folders()).toEqual(["a", "a"]);
    await storage.remove(["a/c/1"]);
    expect(folders()).toEqual([""]);
    // The first attempt may have ended before it had synced anything.
    await storage.remove(["a/c/1"]);
    expect(folders()).toEqual([""]);
  });

  test("removes what a killed process has left unfinished, and not what is being written", async () => {
    const root = temporaryDir("images");
    const unfinished = join(root, "~unfinished");
    mkdirSync(unfinished);
    writeFileSync(join(unfinished, "old"), "x");
    writeFileSync(join(unfinished, "new"), "x");
    const long = new Date(Date.now() - 2 * 60 * 60_000);
    utimesSync(join(unfinished, "old"), long, long);
    storageIn(root);
    await waitFor(() => !readdirSync(unfinished).includes("old"), {
      description: "the old file to be removed",
    });
    expect(readdirSync(unfinished)).toEqual(["new"]);
  });

  test("holds whole objects only, at whatever moment its process is killed", async () => {
    const root = temporaryDir("images");
    const program = join(import.meta.dirname, "../support/storage-writer.ts");
    for (let round = 0; round < 5; round += 1) {
      const child = spawn(process.execPath, [program, root], { stdio: ["ignore", "pipe", "inherit"] });
      const ended = once(child, "exit");
      await once(child.stdout, "data");
      await sleep(Math.random() * 100);
      child.kill("SIGKILL");
      await ended;
    }
    const storage = storageIn(root);
    const objects = await Array.fromAsync(storage.list("written/"));
    expect(objects.length).toBeGreaterThan(0);
    for (const { key, bytes } of objects) {
      expect(bytes).toBe(2_000_000);
      const found = await storage.read(key);
      const content = found && (await bytesOf(found.stream));
      expect(content?.every((byte) => byte === content[0])).toBe(true);
    }
  });
});

/** More than Node works on at the same time. */
const HANGING_CALLS = 128;

/** Has all calls to file systems hang, as those to a volume do that is gone: ones wait that nobody answers. */
class FrozenDisk {
  readonly #pipe = join(temporaryDir("pipe"), "pipe");
  readonly #calls: Promise<FileHandle>[] = [];

  constructor() {
    execFileSync("mkfifo", [this.#pipe]);
  }

  freeze(): void {
    for (let count = 0; count < HANGING_CALLS; count += 1) this.#calls.push(open(this.#pipe, "r"));
  }

  async thaw(): Promise<void> {
    const writer = openSync(this.#pipe, "r+");
    for (const handle of await Promise.all(this.#calls.splice(0))) await handle.close();
    closeSync(writer);
  }
}

/** The paths that are synced from now on, seen from a root. */
async function watchSyncs(root: string): Promise<string[]> {
  const synced: string[] = [];
  const handle = await open(root, "r");
  await handle.close();
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  jest.spyOn(prototype, "sync").mockImplementation(async function (this: FileHandle) {
    fsyncSync(this.fd);
    synced.push(relative(root, readlinkSync(`/proc/self/fd/${this.fd}`)));
  });
  return synced;
}
