import { createHash } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";
import sharp from "sharp";

import { call, type ActionParams } from "../../lib/contracts.ts";
import { loadConfig } from "../../lib/config.ts";
import { Database } from "../../lib/database.ts";
import { newId } from "../../lib/ids.ts";
import { mediaKey, mediaPrefix, originalKey, uploadKey } from "../../lib/media-path.ts";
import { createUrlSigner } from "../../lib/signed-url.ts";
import type { Image } from "../../services/images/images.contract.ts";
import { ImagesRepository } from "../../services/images/images.repository.ts";
import { Rendering } from "../../services/images/rendering.ts";
import { sweepImages } from "../../services/images/sweep-images.ts";
import { UploadsRepository } from "../../services/images/uploads.repository.ts";
import type { Workshop } from "../../services/images/workshop.ts";
import { ageObjects } from "../support/aged-objects.ts";
import { createTestDatabase } from "../support/databases.ts";
import {
  addUser,
  hashOf,
  openSharedStorage,
  pngBytes,
  putBytes,
  putUpload,
  untilNoFiles,
  uploadImage,
  type SharedStorage,
} from "../support/image-uploads.ts";
import { freePort } from "../support/ports.ts";
import { runRollcall } from "../support/rollcall-process.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { storedEvents } from "../support/stored-rows.ts";
import { startTestNodes, type Settings, type TestNodes } from "../support/test-nodes.ts";
import { temporaryDir } from "../support/test-run.ts";

const IDLE_LIMIT = {
  text: "SELECT setting::integer AS ms FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'",
};
const SECRET = "the same on all nodes, as they read each other's cursors";

let nodes: TestNodes;
let shared: SharedStorage;
let database: Database;
let broker: ServiceBroker;
let userId: string;

beforeAll(async () => {
  [nodes, shared] = await Promise.all([startTestNodes(), openSharedStorage()]);
  await Promise.all(
    ["users", "images", "images"].map((SERVICES) => nodes.start({ SERVICES, ...shared.settings })),
  );
  ({ broker } = await nodes.start({ SERVICES: "none", NODE_ID: "caller" }));
  userId = await addUser(broker);
  const config = loadConfig({ DATABASE_URL: nodes.databaseUrl });
  database = new Database({ ...config, DATABASE_URL: nodes.databaseUrl }, silentLogger);
});

afterAll(async () => {
  await database.close();
  await nodes.stop();
  shared.storage.close();
});

const upload = (options: Parameters<typeof uploadImage>[2] = {}, id = userId) =>
  uploadImage({ broker, storage: shared.storage }, id, options);
const ageAll = () => ageObjects(shared.settings["DATA_DIR"] ?? "");
const sweep = () =>
  sweepImages({
    storage: shared.storage,
    images: new ImagesRepository(database),
    uploads: new UploadsRepository(database),
    config: { EVENT_LOG_RETENTION_DAYS: 30, DEAD_LETTER_RETENTION_DAYS: 90 },
  });

describe("a direct upload", () => {
  const start = (bytes: Buffer, params: Partial<ActionParams<"images.startUpload">> = {}) =>
    call(broker, "images.startUpload", {
      id: userId,
      contentType: "image/png",
      bytes: bytes.length,
      visibility: "public",
      ...params,
    });
  const complete = (uploadId: string, id = userId) => call(broker, "images.completeUpload", { id, uploadId });

  test("has a URL of the gateway, good for these bytes of this type for ten minutes, with disk storage", async () => {
    const bytes = await pngBytes();
    const direct = await start(bytes);
    const path = `/api/v1/uploads/${direct.uploadId}`;
    const [, query = ""] = direct.url.split("?");
    expect(direct).toMatchObject({ method: "PUT", headers: { "Content-Type": "image/png" } });
    expect(direct.url).toBe(`${path}?${query}`);
    const signed = { method: "PUT", path, bytes: bytes.length, contentType: "image/png" } as const;
    const expires = createUrlSigner(SECRET).verify(signed, query);
    expect(new Date(Number(expires) * 1000).toISOString()).toBe(direct.expiresAt);
    const life = Date.parse(direct.expiresAt) - Date.now();
    expect(life).toBeLessThanOrEqual(600_000);
    expect(life).toBeGreaterThan(500_000);
  });

  test("is an image when it is completed, once, and its bytes are nowhere else", async () => {
    const bytes = await pngBytes("#778899");
    const { uploadId } = await start(bytes, { visibility: "private" });
    await putUpload(shared.storage, bytes, uploadId);
    const image = await complete(uploadId.toUpperCase());
    expect(image).toMatchObject({ userId, visibility: "private", bytes: bytes.length, format: "png" });
    expect(await shared.keys("uploads/")).toEqual([]);
    await expect(complete(uploadId)).rejects.toMatchObject({ type: "UPLOAD_NOT_FOUND" });
  });

  test("is incomplete while its bytes are not there, or others are, and can be completed then", async () => {
    const bytes = await pngBytes("#998877");
    const { uploadId } = await start(bytes);
    await expect(complete(uploadId)).rejects.toMatchObject({ type: "UPLOAD_INCOMPLETE" });
    await putUpload(shared.storage, bytes.subarray(1), uploadId);
    await expect(complete(uploadId)).rejects.toMatchObject({ type: "UPLOAD_INCOMPLETE" });
    await putUpload(shared.storage, bytes, uploadId);
    expect(await complete(uploadId)).toMatchObject({ bytes: bytes.length });
  });

  test("is nobody else's", async () => {
    const bytes = await pngBytes();
    const { uploadId } = await start(bytes);
    await putUpload(shared.storage, bytes, uploadId);
    await expect(complete(uploadId, await addUser(broker))).rejects.toMatchObject({
      type: "UPLOAD_NOT_FOUND",
    });
    await complete(uploadId);
  });

  test("that two complete at once is one image", async () => {
    const bytes = await pngBytes("#556677");
    const { uploadId } = await start(bytes);
    await putUpload(shared.storage, bytes, uploadId);
    const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => complete(uploadId)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const refusals = outcomes.flatMap((each) => (each.status === "rejected" ? [each.reason as object] : []));
    for (const reason of refusals) expect(reason).toMatchObject({ type: expect.stringMatching(/^UPLOAD_/) });
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    expect(await nodes.sql("SELECT FROM images.images WHERE sha256 = $1", [sha256])).toHaveLength(1);
    expect(await nodes.sql("SELECT FROM images.removals")).toEqual([]);
  });

  test("that nobody completes is swept with its bytes, and so is what a gateway has left", async () => {
    const bytes = await pngBytes();
    const [late, early] = [await start(bytes), await start(bytes)];
    await putUpload(shared.storage, bytes, late.uploadId);
    await putUpload(shared.storage, bytes);
    await ageAll();
    await putUpload(shared.storage, bytes, early.uploadId);
    await nodes.sql("UPDATE images.uploads SET expires_at = now() WHERE id = $1", [late.uploadId]);
    // More than one statement deletes.
    await nodes.sql(
      `INSERT INTO images.uploads SELECT gen_random_uuid(), $1, 'public', 1, now() FROM generate_series(1, 1100)`,
      [userId],
    );
    await expect(complete(late.uploadId)).rejects.toMatchObject({ type: "UPLOAD_NOT_FOUND" });
    await sweep();
    expect(await shared.keys("uploads/")).toEqual([uploadKey(early.uploadId)]);
    expect(await nodes.sql("SELECT FROM images.uploads WHERE expires_at <= now()")).toEqual([]);
    await complete(early.uploadId);
  });
});

test("a deleted image is remembered while a dead letter may be about it, so that it is emptied with its user", async () => {
  const owner = newId();
  const ids = [newId(), newId()];
  await nodes.sql(
    `INSERT INTO images.deleted (image_id, user_id, deleted_at)
     SELECT id, $2, now() - days * interval '1 day' FROM unnest($1::uuid[], '{119,121}'::integer[]) AS image (id, days)`,
    [ids, owner],
  );
  await nodes.sql(
    `INSERT INTO images.deleted SELECT gen_random_uuid(), $1, now() - interval '121 days' FROM generate_series(1, 1100)`,
    [owner],
  );
  await sweep();
  expect(await nodes.sql("SELECT image_id AS id FROM images.deleted WHERE user_id = $1", [owner])).toEqual([
    { id: ids[0] },
  ]);
});

describe("the list of the images of a user", () => {
  test("has each image once, the newest first, also where many came at the same time", async () => {
    const id = await addUser(broker);
    const first = await upload({}, id);
    await nodes.sql(
      `INSERT INTO images.images SELECT gen_random_uuid(), user_id, user_version, visibility,
         encode(sha256(n::text::bytea), 'hex'), sha256, format, width, height, bytes, thumbhash, dominant_color,
         date_trunc('second', created_at) - (n / 4) * interval '1 ms'
       FROM images.images, generate_series(1, 25) AS series (n) WHERE user_id = $1`,
      [id],
    );
    const seen: Image[] = [];
    let cursor: string | undefined;
    do {
      const page = await call(broker, "images.list", {
        id,
        limit: 3,
        ...(cursor !== undefined && { cursor }),
      });
      seen.push(...page.data);
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    const rows = await nodes.sql<{ id: string }>(
      "SELECT id FROM images.images WHERE user_id = $1 ORDER BY created_at DESC, id DESC",
      [id],
    );
    expect(seen.map((image) => image.id)).toEqual(rows.map((row) => row.id));
    expect(seen).toHaveLength(26);
    // The others have no bytes.
    await nodes.sql("DELETE FROM images.images WHERE user_id = $1 AND id <> $2", [id, first.id]);
  });

  test("is empty of one that has none, and there is none of a user who is not there", async () => {
    const list = (id: string) => call(broker, "images.list", { id });
    expect(await list(await addUser(broker))).toEqual({ data: [], nextCursor: null });
    await expect(list(newId())).rejects.toMatchObject({ type: "USER_NOT_FOUND" });
  });

  test("takes no cursor of another list", async () => {
    const id = await addUser(broker);
    await Promise.all([upload({}, id), upload({}, id)]);
    const { nextCursor } = await call(broker, "images.list", { id, limit: 1 });
    const other = call(broker, "images.list", { id: userId, cursor: String(nextCursor) });
    await expect(other).rejects.toMatchObject({ type: "INVALID_CURSOR" });
  });
});

describe("a file that is missing", () => {
  const paramsOf = (image: Image, file: Partial<ActionParams<"images.render">> = {}) => ({
    hash: hashOf(image),
    preset: "large",
    format: "jpeg" as const,
    visibility: image.visibility,
    ...file,
  });

  test("is made once, by one of the nodes that are asked at the same time", async () => {
    const image = await upload({ bytes: await pngBytes("#102030", { width: 200, height: 100 }) });
    const params = paramsOf(image);
    const key = mediaKey(params);
    await shared.storage.remove([key]);
    await Promise.all(Array.from({ length: 12 }, () => call(broker, "images.render", params)));
    expect(await sharp(await bytesOf(key)).metadata()).toMatchObject({
      format: "jpeg",
      width: 64,
      height: 32,
    });
  });

  test("may take a wait for a worker and two attempts at the work before its transaction is ended", async () => {
    const image = await upload();
    const limits: unknown[] = [];
    const transaction: Database["transaction"] = (work) =>
      database.transaction(async (inner) => {
        const result = await work(inner);
        limits.push(...(await inner.query(IDLE_LIMIT, [])));
        return result;
      });
    const rendering = new Rendering({
      config: loadConfig({ ...shared.settings, SERVICES: "none", IMAGE_TIMEOUT_MS: "300000" }),
      database: { transaction } as Database,
      storage: shared.storage,
      images: new ImagesRepository(database),
      // The file is there.
      workshop: {} as Workshop,
    });
    await rendering.render(paramsOf(image));
    expect(limits).toEqual([{ ms: 960_000 }]);
  });

  test("is made of an image that is there, in what is configured, and of nothing else", async () => {
    const image = await upload();
    for (const file of [
      { hash: "0".repeat(64) },
      { preset: "huge" },
      { format: "avif" as const },
      { visibility: "private" as const },
    ]) {
      await expect(call(broker, "images.render", paramsOf(image, file))).rejects.toMatchObject({
        type: "IMAGE_NOT_FOUND",
      });
    }
    await shared.storage.remove([originalKey(hashOf(image)), mediaKey(paramsOf(image))]);
    await expect(call(broker, "images.render", paramsOf(image))).rejects.toMatchObject({
      type: "IMAGE_NOT_FOUND",
    });
    await call(broker, "images.delete", { id: image.id });
  });

  test("is not left when its image is deleted while it is made", async () => {
    const image = await upload();
    const params = paramsOf(image);
    await shared.storage.remove([mediaKey(params)]);
    await Promise.allSettled([
      call(broker, "images.render", params),
      call(broker, "images.delete", { id: image.id }),
    ]);
    // They are removed by whichever node comes to it first.
    await untilNoFiles(shared, [image]);
    expect(await shared.keys(mediaPrefix("public", hashOf(image)))).toEqual([]);
  });
});

describe("a reconciliation", () => {
  const reconcile = (fix: boolean) => call(broker, "images.reconcile", { fix });

  test("finds nothing where all fits", async () => {
    const { found, rowsWithoutBytes, bytesWithoutRows, missingFiles } = await reconcile(false);
    expect({ found, rowsWithoutBytes, bytesWithoutRows, missingFiles }).toEqual({
      found: 0,
      rowsWithoutBytes: [],
      bytesWithoutRows: [],
      missingFiles: 0,
    });
  });

  test("finds rows without bytes and old bytes without rows, and deletes both when told to", async () => {
    const [kept, bare, thin] = [await upload(), await upload(), await upload({ visibility: "private" })];
    const stray = "ab".repeat(32);
    const strayKeys = [
      `media/private/${stray}/large.jpeg`,
      `media/public/${stray}/thumb.webp`,
      originalKey(stray),
    ];
    for (const key of strayKeys) await copyObject(originalKey(hashOf(kept)), key);
    await ageAll();
    const young = originalKey("cd".repeat(32));
    await copyObject(originalKey(hashOf(kept)), young);
    await shared.storage.remove([originalKey(hashOf(bare))]);
    await shared.storage.remove([
      mediaKey({ visibility: "private", hash: hashOf(thin), preset: "thumb", format: "webp" }),
    ]);

    const found = { rowsWithoutBytes: [bare.id], found: 4, missingFiles: 1 };
    const report = await reconcile(false);
    expect(report).toMatchObject({ ...found, isFixed: false });
    expect(report.bytesWithoutRows.toSorted()).toEqual(strayKeys.toSorted());
    expect(await call(broker, "images.get", { id: bare.id })).toEqual(bare);

    const command = await runReconcile([]);
    expect(command.exitCode).toBe(1);
    expect(command.output).toContain(`image ${bare.id}: its original is not there\n`);
    const fixing = await runReconcile(["--fix"]);
    expect(fixing.exitCode).toBe(0);
    expect(fixing.output).toContain(`object ${originalKey(stray)}: it belongs to no image: removed\n`);

    expect(await reconcile(false)).toMatchObject({ found: 0 });
    expect((await shared.keys()).filter((key) => key.includes(stray))).toEqual([]);
    expect(await shared.storage.head(young)).toBeDefined();
    expect((await storedEvents(nodes, bare.id)).at(-1)).toMatchObject({
      type: "image-deleted_v1",
      actor: "service:rollcall",
    });
    expect(await call(broker, "images.get", { id: kept.id })).toEqual(kept);
    await shared.storage.remove([young]);
  });

  test("mends nothing in a storage that has the bytes of no image: a wrong bucket, or a folder that is not mounted", async () => {
    const image = await upload();
    const { exitCode, output } = await runReconcile(["--fix"], { DATA_DIR: temporaryDir("not-mounted") });
    expect(exitCode).toBe(1);
    expect(output).toContain(`image ${image.id}: its original is not there\n`);
    expect(output).toContain("Nothing is mended.");
    expect(await call(broker, "images.get", { id: image.id })).toEqual(image);
  });

  test("says nothing of a wrong storage while the last image is being removed from it, or the first one made", async () => {
    const empty = await createTestDatabase();
    const { exitCode, output } = await runReconcile([], {
      DATABASE_URL: empty.url,
      DATA_DIR: await storageOfOneObject(),
    });
    await empty.drop();
    expect(output).toBe("0 images, 1 objects: 0 do not fit.\n");
    expect(exitCode).toBe(0);
  });

  test("says in a sentence that the storage is not available", async () => {
    const { exitCode, output } = await runReconcile([], {
      STORAGE: "s3",
      S3_BUCKET: "images",
      S3_ENDPOINT: `http://127.0.0.1:${await freePort()}`,
      S3_ACCESS_KEY_ID: "key",
      S3_SECRET_ACCESS_KEY: "key",
    });
    expect(output).toMatch(/^The storage of images is not available: connect ECONNREFUSED [\d.:]+\n$/);
    expect(exitCode).toBe(1);
  });

  test("is refused with an option that it does not have", async () => {
    const { exitCode, output } = await runReconcile(["--fast"]);
    expect([exitCode, output.trim()]).toEqual([1, "Usage: npm run images:reconcile [-- --fix]"]);
  });
});

function runReconcile(args: readonly string[], settings: Settings = {}) {
  const connected = { DATABASE_URL: nodes.databaseUrl, NATS_URL: "", LOG_LEVEL: "silent" };
  const env = { ...shared.settings, ...connected, ...settings };
  return runRollcall({ program: "reconcile-command.ts", args, env });
}

/** The folder of a storage with an original that belongs to no image, or not yet. */
async function storageOfOneObject(): Promise<string> {
  const { storage, settings } = await openSharedStorage();
  await putBytes(storage, originalKey("ab".repeat(32)), await pngBytes());
  storage.close();
  return settings["DATA_DIR"] ?? "";
}

async function copyObject(from: string, to: string): Promise<void> {
  await putBytes(shared.storage, to, await bytesOf(from));
}

async function bytesOf(key: string): Promise<Buffer> {
  const object = await shared.storage.read(key);
  if (!object) throw new Error(`There is no ${key}.`);
  return Buffer.concat(await Array.fromAsync(object.stream as AsyncIterable<Buffer>));
}
