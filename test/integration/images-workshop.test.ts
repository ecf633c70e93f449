import { readdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { afterEach, beforeEach, expect, test } from "@jest/globals";

import { createImageProcessor } from "../../services/images/create-image-processor.ts";
import type { ImageProcessor } from "../../services/images/image-processor.ts";
import { Workshop } from "../../services/images/workshop.ts";
import { openSharedStorage, pngBytes, putUpload, type SharedStorage } from "../support/image-uploads.ts";
import { silentLogger } from "../support/silent-logger.ts";

let shared: SharedStorage;
let processor: ImageProcessor;
let workshop: Workshop;

beforeEach(async () => {
  shared = await openSharedStorage();
  processor = createImageProcessor({
    presets: [{ name: "thumb", width: 16, height: 16, fit: "cover" }],
    formats: ["jpeg"],
    workers: 1,
    queueMax: 1,
    timeoutMs: 20_000,
    log: silentLogger,
  });
  workshop = new Workshop({ storage: shared.storage, processor, limit: 1 });
  await workshop.open();
});

afterEach(async () => {
  await processor.stop();
  await workshop.close();
  shared.storage.close();
});

test("a disk without room is no fault of the image, and what was made is not left there", async () => {
  const { uploadId, ...expected } = await putUpload(shared.storage, await pngBytes());
  let folder = "";
  const finished = workshop.finish(uploadId, expected, async ({ original }) => {
    folder = dirname(original.path);
    expect(await readdir(folder)).toHaveLength(2);
    await writeFile("/dev/full", "x");
  });
  await expect(finished).rejects.toMatchObject({ type: "STORAGE_UNAVAILABLE", retryable: true });
  expect(await readdir(dirname(folder))).toEqual([]);
});
