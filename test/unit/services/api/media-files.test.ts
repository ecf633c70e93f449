import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";

import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";

import { appError } from "../../../../broker/errors.ts";
import { loadConfig } from "../../../../lib/config.ts";
import { mediaKey, type MediaFile } from "../../../../lib/media-path.ts";
import { DiskStorage } from "../../../../lib/storage/disk.ts";
import { MediaFiles } from "../../../../services/api/media-files.ts";
import { silentLogger } from "../../../support/silent-logger.ts";
import { temporaryDir } from "../../../support/test-run.ts";

const FILE: MediaFile = { visibility: "public", hash: "ab".repeat(32), preset: "small", format: "webp" };
const SMALL = randomBytes(500 * 1024);
const LARGE = randomBytes(600 * 1024);
/** More than files in memory may take that slow clients wait for. */
const MUCH = 200 * 1024 * 1024;
/** Longer than a file is sent without a look at the storage. */
const LATER_MS = 60_000;

let storage: DiskStorage;
let files: MediaFiles;
/** What the storage was asked for. */
let asked: string[];
/** What happens before it answers. */
let onAsked: () => Promise<void>;

beforeEach(() => {
  asked = [];
  onAsked = async () => undefined;
  storage = new DiskStorage({ root: temporaryDir("storage"), timeoutMs: 60_000, log: silentLogger });
  files = new MediaFiles({
    storage: {
      head: (key: string) => ask("head", () => storage.head(key)),
      read: (...args: Parameters<DiskStorage["read"]>) => ask("read", () => storage.read(...args)),
    } as DiskStorage,
    config: loadConfig({}),
    render: async () => {
      throw appError("IMAGE_NOT_FOUND");
    },
  });
});

afterEach(() => {
  jest.restoreAllMocks();
  storage.close();
});

async function ask<T>(what: string, answer: () => Promise<T>): Promise<T> {
  asked.push(what);
  await onAsked();
  return answer();
}

async function store(bytes: Buffer): Promise<void> {
  const path = join(temporaryDir("media"), "file");
  writeFileSync(path, bytes);
  await storage.put(mediaKey(FILE), { path, bytes: bytes.length, contentType: "image/webp" });
}

const admit = async () => undefined;
const readBytes = async (): Promise<Buffer> => {
  const { body } = await files.read(FILE, admit);
  return Buffer.isBuffer(body) ? body : buffer(body);
};
const readTogether = (): Promise<Buffer[]> => Promise.all(Array.from({ length: 20 }, readBytes));
const pass = (milliseconds: number): void => {
  const now = Date.now() + milliseconds;
  jest.spyOn(Date, "now").mockReturnValue(now);
};

test("a file that many ask for at the same time is read once, and then known without a look at the storage", async () => {
  await store(SMALL);
  for (const bytes of await readTogether()) expect(bytes.equals(SMALL)).toBe(true);
  expect(files.recall(FILE)?.bytes?.equals(SMALL)).toBe(true);
  expect(asked).toEqual(["read"]);
});

test("a large file is read for each who asks, and not kept", async () => {
  await store(LARGE);
  for (const bytes of await readTogether()) expect(bytes.equals(LARGE)).toBe(true);
  expect(files.recall(FILE)).toBeUndefined();
  expect(asked).toHaveLength(20);
});

test("a file that was looked at a while ago is looked at once more, for all who ask", async () => {
  await store(SMALL);
  await readBytes();
  pass(LATER_MS);
  expect(files.recall(FILE)).toBeUndefined();
  for (const bytes of await readTogether()) expect(bytes.equals(SMALL)).toBe(true);
  expect(asked).toEqual(["read", "head"]);
  expect(files.recall(FILE)).toBeDefined();
});

test("a file that was replaced or removed since is not sent from memory", async () => {
  await store(SMALL);
  await readBytes();
  await store(SMALL.subarray(1));
  pass(LATER_MS);
  expect((await readBytes()).equals(SMALL.subarray(1))).toBe(true);
  await storage.remove([mediaKey(FILE)]);
  pass(LATER_MS);
  await expect(readBytes()).rejects.toMatchObject({ type: "IMAGE_NOT_FOUND" });
});

test("while the storage fails nothing is sent from memory that is to be looked at, and all is well when it is back", async () => {
  await store(SMALL);
  await readBytes();
  pass(LATER_MS);
  onAsked = async () => {
    throw appError("STORAGE_UNAVAILABLE");
  };
  const results = await Promise.allSettled(Array.from({ length: 20 }, readBytes));
  expect(results.map(({ status }) => status)).toEqual(results.map(() => "rejected"));
  expect(asked).toEqual(["read", "head"]);
  onAsked = async () => undefined;
  expect((await readBytes()).equals(SMALL)).toBe(true);
  expect(asked).toEqual(["read", "head", "head"]);
});

test("a storage that hangs is asked once, however many ask for the file", async () => {
  await store(SMALL);
  const { promise, resolve } = Promise.withResolvers<void>();
  onAsked = () => promise;
  const reads = Array.from({ length: 10 }, () => readTogether());
  resolve();
  expect((await Promise.all(reads)).flat()).toHaveLength(200);
  expect(asked).toEqual(["read"]);
});

test("while much waits for slow clients, files are sent as they are read, and kept again afterwards", async () => {
  await store(SMALL);
  const giveBack = files.lend(MUCH);
  const { body } = await files.read(FILE, admit);
  expect((await buffer(body as Readable)).equals(SMALL)).toBe(true);
  expect(files.recall(FILE)).toBeUndefined();
  giveBack();
  await readBytes();
  expect(files.recall(FILE)?.bytes).toBeDefined();
});

test("a part is cut from what is in memory, and else read alone", async () => {
  await store(SMALL);
  const range = { start: 10, end: 19 };
  const expected = SMALL.subarray(10, 20);
  const { body } = await files.read(FILE, admit, range);
  expect((await buffer(body as Readable)).equals(expected)).toBe(true);
  await readBytes();
  expect((await files.read(FILE, admit, range)).body).toEqual(expected);
  expect(asked).toEqual(["read", "read"]);
});
