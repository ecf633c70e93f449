import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "@jest/globals";

import { adminClient } from "../support/admin.ts";
import { createTestDatabase, type TestDatabase } from "../support/databases.ts";
import { QUICK_FILES, QUICK_IMAGES } from "../support/image-uploads.ts";
import { createImage, imagesOf, sendFile } from "../support/images-over-http.ts";
import { noisePicture } from "../support/pictures.ts";
import type { RestClient } from "../support/rest-client.ts";
import { startRollcall, type Rollcall } from "../support/rollcall-process.ts";
import { temporaryDir } from "../support/test-run.ts";
import { waitFor } from "../support/wait-for.ts";

/** The files that an upload writes: what the gateway receives, the original, and the presets. */
const FILES_OF_UPLOAD = 2 + QUICK_FILES.length;

let database: TestDatabase;
let folder: string;
let node: Rollcall;
let client: RestClient;

beforeAll(async () => {
  database = await createTestDatabase();
  const dataDir = temporaryDir("data");
  folder = join(dataDir, "images");
  node = await startRollcall({
    env: {
      ...QUICK_IMAGES,
      DATABASE_URL: database.url,
      DATA_DIR: dataDir,
      FULL_DISK: folder,
      NODE_OPTIONS: `--import=${join(import.meta.dirname, "../support/full-disk.ts")}`,
    },
  });
  client = await adminClient(node.url);
});

afterAll(async () => {
  client.close();
  await node.stop();
  await database.drop();
});

/** Everything that is stored, what is unfinished among it. */
async function storedFiles(): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

test("an upload for which the disk has no room, at whichever of its files, is 503 and leaves nothing", async () => {
  const { id } = await client.createUser();
  for (let room = 0; room < FILES_OF_UPLOAD; room += 1) {
    await writeFile(`${folder}.room`, String(room));
    const { status, json, headers } = await sendFile(client, imagesOf(id), await noisePicture());
    expect([room, status, json]).toMatchObject([room, 503, { code: "STORAGE_UNAVAILABLE", retryable: true }]);
    expect(headers).toHaveProperty("retry-after");
    await waitFor(async () => (await storedFiles()).length === 0, { description: "nothing to be stored" });
    expect((await client.get(imagesOf(id))).json).toMatchObject({ data: [] });
  }
  await writeFile(`${folder}.room`, String(FILES_OF_UPLOAD));
  const image = await createImage(client, id);
  expect((await client.get(imagesOf(id))).json).toMatchObject({ data: [{ id: image.id }] });
  await rm(`${folder}.room`);
});
