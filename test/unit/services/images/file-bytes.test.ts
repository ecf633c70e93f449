import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "@jest/globals";

import { FileBytes, WINDOW_BYTES } from "../../../../services/images/inspection/file-bytes.ts";
import { temporaryDir } from "../../../support/test-run.ts";

/** Looks at a file of these bytes. */
async function use<T>(bytes: Buffer, look: (file: FileBytes) => Promise<T>): Promise<T> {
  const path = join(temporaryDir("file-bytes"), "file");
  await writeFile(path, bytes);
  return FileBytes.use(path, look);
}

test("any part of a file is read, up to its end", async () => {
  const bytes = Buffer.from(Uint8Array.from({ length: 2.5 * WINDOW_BYTES }, (_, index) => index >> 8));
  await use(bytes, async (file) => {
    for (const [offset, length] of [
      [0, 8],
      [WINDOW_BYTES - 4, 8],
      [4, WINDOW_BYTES],
      [2 * WINDOW_BYTES, 8],
      [bytes.length - 8, 8],
    ] as const) {
      expect(await file.at(offset, length)).toEqual(bytes.subarray(offset, offset + length));
    }
    expect(await file.upTo(bytes.length - 4, WINDOW_BYTES)).toEqual(bytes.subarray(-4));
    expect(await file.upTo(2 ** 60, 8)).toHaveLength(0);
    await expect(file.at(bytes.length - 4, 8)).rejects.toMatchObject({ type: "IMAGE_UNREADABLE" });
    await expect(file.at(0, WINDOW_BYTES + 1)).rejects.toMatchObject({ type: "IMAGE_UNREADABLE" });
  });
});

test("others get their turn while a file is looked at again and again", async () => {
  let turns = 0;
  let timer = setImmediate(function count() {
    turns += 1;
    timer = setImmediate(count);
  });
  const turnsWithin = await use(Buffer.alloc(8), async (file) => {
    // After this it is in memory, and nothing is waited for any more.
    await file.at(0, 8);
    const before = turns;
    for (let looks = 0; looks < 10_000; looks += 1) await file.at(0, 8);
    return turns - before;
  });
  clearImmediate(timer);
  expect(turnsWithin).toBeGreaterThanOrEqual(10);
});

test("a file that is looked at without end is given up", async () => {
  const looking = use(Buffer.alloc(8), async (file) => {
    for (;;) await file.at(0, 8);
  });
  await expect(looking).rejects.toMatchObject({
    type: "IMAGE_UNREADABLE",
    message: "The image takes too much work to read.",
  });
});
