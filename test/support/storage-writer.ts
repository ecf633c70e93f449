import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { DiskStorage } from "../../lib/storage/disk.ts";
import { silentLogger } from "./silent-logger.ts";
import { temporaryDir } from "./test-run.ts";

/*
 * A program: puts objects of two million equal bytes into the folder that it is given, until it is killed. Prints
 * something as soon as the first one is there.
 */

const [, , root = ""] = process.argv;
const storage = new DiskStorage({ root, timeoutMs: 20_000, log: silentLogger });
const folder = temporaryDir("written");
for (let index = 0; ; index += 1) {
  const path = join(folder, "file");
  writeFileSync(path, Buffer.alloc(2_000_000, index % 256));
  await storage.put(`written/${randomUUID()}`, { path, bytes: 2_000_000, contentType: "image/webp" });
  if (index === 0) process.stdout.write("begun\n");
}
