import { createHash, randomBytes, randomUUID } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { DiskStorage } from "../../lib/storage/disk.ts";
import { S3Storage } from "../../lib/storage/s3.ts";
import type { ByteRange, LocalFile, Storage } from "../../lib/storage/storage.ts";
import { startS3, type TestS3 } from "../support/s3-server.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { temporaryDir } from "../support/test-run.ts";

const TIMEOUT_MS = 10_000;

let s3: TestS3;
let folder: string;

beforeAll(async () => {
  s3 = await startS3();
  folder = temporaryDir("files");
});

afterAll(() => s3.stop());

function createStorage(kind: string): Storage {
  if (kind === "disk") {
    return new DiskStorage({ root: temporaryDir("images"), timeoutMs: TIMEOUT_MS, log: silentLogger });
  }
  return new S3Storage({
    endpoint: s3.url,
    publicEndpoint: "http://files.example.com",
    region: "us-east-1",
    bucket: s3.bucket,
    accessKeyId: s3.accessKeyId,
    secretAccessKey: s3.secretAccessKey,
    isPathStyle: true,
    timeoutMs: TIMEOUT_MS,
    log: silentLogger,
  });
}

function fileOf(bytes: Buffer): LocalFile {
  const path = join(folder, randomUUID());
  writeFileSync(path, bytes);
  return { path, bytes: bytes.length, contentType: "image/webp" };
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>));
}

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");

describe.each(["disk", "s3"])("a storage on %s", (kind) => {
  let storage: Storage;

  beforeAll(() => {
    storage = createStorage(kind);
  });

  afterAll(() => storage.close());

  const read = async (key: string, range?: ByteRange): Promise<Buffer | undefined> => {
    const found = await storage.read(key, range);
    return found && bytesOf(found.stream);
  };
  const keysOf = async (prefix: string, after?: string): Promise<string[]> =>
    (await Array.fromAsync(storage.list(prefix, after))).map(({ key }) => key);
  const putAll = (keys: readonly string[]): Promise<unknown> =>
    Promise.all(keys.map((key) => storage.put(key, fileOf(Buffer.from(key)))));

  test("works", async () => {
    await expect(storage.check()).resolves.toBeUndefined();
  });

  test("gives back what was put, with its size and time", async () => {
    const bytes = randomBytes(300_000);
    const before = Date.now();
    const file = fileOf(bytes);
    await storage.put("originals/one", file);
    const found = await storage.read("originals/one");
    expect(found && (await bytesOf(found.stream)).equals(bytes)).toBe(true);
    expect(found?.info).toMatchObject({ key: "originals/one", bytes: 300_000 });
    expect(await storage.head("originals/one")).toEqual(found?.info);
    expect(await Array.fromAsync(storage.list("originals/"))).toEqual([found?.info]);
    // S3 tells the time in whole seconds.
    expect(found?.info.modifiedAt.getTime()).toBeGreaterThan(before - 2000);
    expect(found?.info.modifiedAt.getTime()).toBeLessThanOrEqual(Date.now() + 1000);
    expect(readdirSync(folder)).toContain(file.path.split("/").at(-1));
  });

  test.each([0, 1, 65_536, 10_485_760])("keeps %d bytes as they are", async (size) => {
    const bytes = randomBytes(size);
    await storage.put("sizes/one", fileOf(bytes));
    expect((await storage.head("sizes/one"))?.bytes).toBe(size);
    expect((await read("sizes/one"))?.equals(bytes)).toBe(true);
  });

  test.each<[ByteRange, string]>([
    [{ start: 0, end: 1 }, "01"],
    [{ start: 0, end: 9 }, "0123456789"],
    [{ start: 3, end: 5 }, "345"],
    [{ start: 9, end: 9 }, "9"],
  ])("gives the bytes %j alone, and says how many there are", async (range, text) => {
    await storage.put("ranges/one", fileOf(Buffer.from("0123456789")));
    const found = await storage.read("ranges/one", range);
    expect(found?.info.bytes).toBe(10);
    expect(found && String(await bytesOf(found.stream))).toBe(text);
  });

  test("has nothing under a key where nothing was put, not even where others begin with it", async () => {
    await storage.put("folder/inner/one", fileOf(Buffer.from("1")));
    for (const key of ["nowhere", "nowhere/at/all", "folder", "folder/inner", "folder/inner/one/more"]) {
      expect(await storage.head(key)).toBeUndefined();
      expect(await storage.read(key)).toBeUndefined();
    }
  });

  test("replaces what was there, and a reader of the old bytes still gets all of them", async () => {
    const [old, next] = [randomBytes(2_000_000), randomBytes(1_000_000)];
    await storage.put("replaced/one", fileOf(old));
    const reading = await storage.read("replaced/one");
    if (kind === "disk") await storage.put("replaced/one", fileOf(next));
    expect(reading && (await bytesOf(reading.stream)).equals(old)).toBe(true);
    await storage.put("replaced/one", fileOf(next));
    expect((await read("replaced/one"))?.equals(next)).toBe(true);
  });

  test("refuses a file that has another size than is said, and stores nothing", async () => {
    const file = fileOf(randomBytes(100));
    await expect(storage.put("lies/one", { ...file, bytes: 99 })).rejects.toMatchObject({
      type: "STORAGE_UNAVAILABLE",
    });
    await expect(storage.put("lies/one", { ...file, path: join(folder, "nowhere") })).rejects.toMatchObject({
      type: "STORAGE_UNAVAILABLE",
    });
    expect(await storage.head("lies/one")).toBeUndefined();
  });

  test("removes objects, also such as are not there", async () => {
    const keys = Array.from({ length: 5 }, (_, index) => `removed/${hashOf(String(index))}/x`);
    await putAll([...keys, "removed/stays"]);
    await storage.remove([...keys, "removed/never-was", "nowhere/at/all"]);
    expect(await keysOf("removed/")).toEqual(["removed/stays"]);
    await expect(storage.remove([])).resolves.toBeUndefined();
    await expect(storage.remove(keys)).resolves.toBeUndefined();
  });

  test("removes thousands of objects in one call", async () => {
    const keys = Array.from({ length: 1100 }, (_, index) => `many/${index}`);
    await storage.put("many/1099", fileOf(Buffer.from("1")));
    await storage.remove(keys);
    expect(await keysOf("many/")).toEqual([]);
  });

  test("puts into a folder while others remove what makes it empty", async () => {
    const keys = Array.from({ length: 40 }, (_, index) => `busy/${hashOf("one")}/${index}`);
    await Promise.all(
      keys.map(async (key) => {
        await storage.put(key, fileOf(Buffer.from("1")));
        await storage.remove([key]);
      }),
    );
    expect(await keysOf("busy/")).toEqual([]);
  });

  test("lists what is below a prefix, ascending by code unit, with sizes", async () => {
    const hashes = Array.from({ length: 30 }, (_, index) => hashOf(`list ${index}`));
    const keys = [
      ...hashes.flatMap((hash) => [`list/${hash}/a.webp`, `list/${hash}/a-b.webp`]),
      // "-" and "." come before "/", digits and letters after. The test server sorts each folder by itself.
      ...(kind === "disk" ? ["list/a-b", "list/a.b", "list/abc-d"] : []),
      "list/a/b",
      "list/a0",
      "list/a_b",
      "list/ab",
      "list/abc/d",
      `list/${hashOf("list 0").slice(0, 8)}`,
      `list/${hashOf("list 0").slice(0, 3)}`,
      "list/z",
    ];
    await putAll([...keys, "listed", "lis/t", `list-${hashes[0]}`]);
    const sorted = keys.toSorted();
    expect(await keysOf("list/")).toEqual(sorted);
    expect(await keysOf("list/a/")).toEqual(["list/a/b"]);
    expect(await keysOf(`list/${hashes[3]}/`)).toEqual([
      `list/${hashes[3]}/a-b.webp`,
      `list/${hashes[3]}/a.webp`,
    ]);
    for (const [index, key] of sorted.entries()) {
      expect(await keysOf("list/", key)).toEqual(sorted.slice(index + 1));
    }
    expect(await keysOf("list/", "list/a/a")).toEqual(sorted.slice(sorted.indexOf("list/a/b")));
    expect(await keysOf("list/", "zzz")).toEqual([]);
  });

  test("lists nothing where nothing is", async () => {
    expect(await keysOf("empty/")).toEqual([]);
    expect(await keysOf("empty/far/below/")).toEqual([]);
  });

  test.each([
    "",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    "a/..",
    ".",
    "a/./b",
    ".hidden",
    "~unfinished/a",
    "A",
    "a b",
    "a\\b",
    "a\0b",
    "ä",
    "a%2f",
    "a".repeat(201),
    "a/".repeat(260) + "a",
  ])("takes %j for no key", async (key) => {
    const noKey = /^No key of a storage/;
    await expect(storage.put(key, fileOf(Buffer.from("1")))).rejects.toThrow(noKey);
    await expect(storage.head(key)).rejects.toThrow(noKey);
    await expect(storage.read(key)).rejects.toThrow(noKey);
    await expect(storage.remove(["a", key])).rejects.toThrow(noKey);
    const put = { bytes: 1, contentType: "image/png", expiresInSeconds: 60 };
    await expect(storage.directPut(key, put)).rejects.toThrow(noKey);
    await expect(keysOf(`${key}/`)).rejects.toThrow(noKey);
    await expect(keysOf("a")).rejects.toThrow("No prefix of keys");
  });

  test("is not kept from working by a reader that stops early", async () => {
    await storage.put("early/one", fileOf(randomBytes(5_000_000)));
    for (let index = 0; index < 300; index += 1) {
      const found = await storage.read("early/one");
      found?.stream.destroy();
    }
    expect((await read("early/one"))?.length).toBe(5_000_000);
  });
});

test("a storage on disk loses no file to others who keep removing the folder that it is put into", async () => {
  const storage = createStorage("disk");
  const file = fileOf(Buffer.from("1"));
  const writers = Array.from({ length: 16 }, async (_, writer) => {
    for (let round = 0; round < 25; round += 1) {
      const key = `busy/${hashOf("one")}/${writer}-${round}`;
      await storage.put(key, file);
      expect(await storage.head(key)).toBeDefined();
      await storage.remove([key]);
    }
  });
  await Promise.all(writers);
  storage.close();
});
