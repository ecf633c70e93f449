import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";

import { expect, test } from "@jest/globals";

import { saveStream } from "../../../lib/saved-stream.ts";
import { temporaryDir } from "../../support/test-run.ts";

const exceeded = () => new Error("more than announced");
const newPath = () => join(temporaryDir("saved-stream"), "file");

test("a stream is in the file, and measured", async () => {
  const path = newPath();
  const saved = await saveStream(Readable.from([Buffer.from("ab"), Buffer.from("c")]), {
    path,
    limitBytes: 3,
    exceeded,
  });
  expect(saved).toEqual({ bytes: 3, sha256: createHash("sha256").update("abc").digest("hex") });
  expect(await readFile(path, "utf8")).toBe("abc");
});

test("what is beyond the limit does not reach the disk, and no more of it is read", async () => {
  const path = newPath();
  const endless = new Readable({ read: () => void endless.push("12345678") });
  await expect(saveStream(endless, { path, limitBytes: 20, exceeded })).rejects.toThrow(
    "more than announced",
  );
  expect((await readFile(path)).length).toBeLessThanOrEqual(20);
  expect(endless.destroyed).toBe(true);
});

test("a stream that fails before the file is open fails as one that fails later", async () => {
  const stream = new PassThrough();
  const saving = saveStream(stream, { path: newPath(), limitBytes: 3, exceeded });
  stream.destroy(new Error("the client has left"));
  await expect(saving).rejects.toThrow("the client has left");
});

test("a stream that no file can take is not left open", async () => {
  const stream = new PassThrough();
  const closed = once(stream, "close");
  const saving = saveStream(stream, { path: join(newPath(), "missing"), limitBytes: 3, exceeded });
  await expect(saving).rejects.toMatchObject({ code: "ENOENT" });
  await closed;
});
