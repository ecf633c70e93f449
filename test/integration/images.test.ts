import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { newId } from "../../lib/ids.ts";
import { mediaPrefix, originalKey, uploadKey } from "../../lib/media-path.ts";
import type { Principal } from "../../lib/principal.ts";
import type { Image } from "../../services/images/images.contract.ts";
import {
  addUser,
  hashOf,
  openSharedStorage,
  pngBytes,
  putUpload,
  QUICK_FILES,
  untilNoFiles,
  uploadImage,
  type SharedStorage,
} from "../support/image-uploads.ts";
import { metricsPortOf, type MetricsPort } from "../support/metrics-port.ts";
import { as, ask, withKey } from "../support/requests.ts";
import { storedEvents } from "../support/stored-rows.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let shared: SharedStorage;
let broker: ServiceBroker;
let metrics: MetricsPort;
let userId: string;

beforeAll(async () => {
  [nodes, shared] = await Promise.all([startTestNodes(), openSharedStorage()]);
  await Promise.all([
    nodes.start({ SERVICES: "users", ...shared.settings }),
    nodes
      .start({
        SERVICES: "images",
        NODE_ID: "images",
        METRICS_PORT: "0",
        // So that URLs of private images are hardly ever others than a moment before.
        MEDIA_URL_TTL_SECONDS: "604800",
        ...shared.settings,
      })
      .then((node) => (metrics = metricsPortOf(node))),
  ]);
  ({ broker } = await nodes.start({ SERVICES: "none", NODE_ID: "caller" }));
  userId = await addUser(broker);
});

afterAll(async () => {
  await nodes.stop();
  shared.storage.close();
});

const upload = (options: Parameters<typeof uploadImage>[2] = {}, id = userId) =>
  uploadImage({ broker, storage: shared.storage }, id, options);
const user = (id: string): Principal => ({ kind: "user", id, role: "user" });

/** Waits until the files of a deleted image are gone: the answer to the deletion waits for the disk for a second only. */
async function untilFilesAreGone(image: Image): Promise<void> {
  await untilNoFiles(shared, [image]);
  await waitFor(async () => (await nodes.sql("SELECT FROM images.removals")).length === 0, {
    description: "nothing to be left to remove",
  });
}

describe("a new image", () => {
  test("has what was found out about it, and URLs of every preset in every format", async () => {
    const bytes = await pngBytes("#336699");
    const image = await upload({ bytes });
    const hash = hashOf(image);
    const urlsOf = (preset: string) => ({
      webp: `/media/${hash}/${preset}.webp`,
      jpeg: `/media/${hash}/${preset}.jpeg`,
    });
    expect(image).toEqual({
      id: expect.any(String),
      userId,
      visibility: "public",
      format: "png",
      width: 40,
      height: 30,
      bytes: bytes.length,
      sha256: expect.stringMatching(/^[\da-f]{64}$/),
      thumbhash: expect.any(String),
      dominantColor: "#336699",
      urls: { thumb: urlsOf("thumb"), large: urlsOf("large") },
      urlsExpireAt: null,
      version: 1,
      createdAt: expect.any(String),
    });
    expect(await call(broker, "images.get", { id: image.id })).toEqual(image);
  });

  test("has its files and its original in the storage, and no note that they are to be removed", async () => {
    const image = await upload();
    const hash = hashOf(image);
    const prefix = mediaPrefix("public", hash);
    expect(await shared.keys(prefix)).toEqual(QUICK_FILES.map((name) => `${prefix}${name}`));
    expect(await shared.storage.head(originalKey(hash))).toMatchObject({ bytes: image.bytes });
    expect(await nodes.sql("SELECT FROM images.removals WHERE hash = $1", [hash])).toEqual([]);
  });

  test("is told of in an event, without URLs", async () => {
    const { urls: _, urlsExpireAt: __, ...facts } = await upload();
    expect(await storedEvents(nodes, facts.id)).toMatchObject([
      { type: "image-created_v1", subject: facts.id, data: facts, actor: "service:rollcall" },
    ]);
  });

  test("that is private has signed URLs, which end, and files in another folder", async () => {
    const image = await upload({ visibility: "private" });
    const { jpeg = "" } = image.urls["thumb"] ?? {};
    expect(jpeg).toMatch(/^\/media\/private\/[\da-f]{64}\/thumb\.jpeg\?expires=\d+&signature=[\w-]+$/);
    expect(Date.parse(String(image.urlsExpireAt))).toBeGreaterThan(Date.now());
    expect(await shared.keys(mediaPrefix("private", hashOf(image)))).toHaveLength(4);
    expect(await call(broker, "images.get", { id: image.id })).toEqual(image);
  });

  test("of the same bytes has nothing in common with that of another user", async () => {
    const other = await addUser(broker);
    const bytes = await pngBytes("#123456");
    const [one, two] = await Promise.all([upload({ bytes }), upload({ bytes }, other)]);
    expect(one.sha256).toBe(two.sha256);
    expect(hashOf(one)).not.toBe(hashOf(two));
    await call(broker, "images.delete", { id: one.id });
    await untilFilesAreGone(one);
    expect(await shared.keys(mediaPrefix("public", hashOf(two)))).toHaveLength(4);
    expect(await shared.storage.head(originalKey(hashOf(two)))).toBeDefined();
  });
});

describe("no image is made", () => {
  test.each([
    ["a user that is not there", { id: newId() }, "USER_NOT_FOUND"],
    ["an upload that is not there", { uploadId: newId() }, "UPLOAD_NOT_FOUND"],
    ["bytes that are others than announced", { sha256: "0".repeat(64) }, "STORAGE_UNAVAILABLE"],
    ["fewer bytes than announced", { bytes: 10_000 }, "STORAGE_UNAVAILABLE"],
    ["more bytes than announced", { bytes: 10 }, "STORAGE_UNAVAILABLE"],
  ])("of %s", async (_, params, type) => {
    const before = await shared.keys();
    const arrived = await putUpload(shared.storage, await pngBytes());
    const creation = call(broker, "images.create", {
      id: userId,
      visibility: "public",
      ...arrived,
      ...params,
    });
    await expect(creation).rejects.toMatchObject({ type });
    await shared.storage.remove([uploadKey(arrived.uploadId)]);
    expect(await shared.keys()).toEqual(before);
  });

  test("of what is no image, and nothing is left of it", async () => {
    const before = await shared.keys();
    const creation = upload({ bytes: Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'/>") });
    await expect(creation).rejects.toMatchObject({ type: "UNSUPPORTED_IMAGE_TYPE" });
    expect(await shared.keys()).toEqual(before);
    expect(await nodes.sql("SELECT FROM images.removals")).toEqual([]);
  });
});

describe("a request that is repeated", () => {
  test("with another upload of the same bytes gives the first image", async () => {
    const key = randomUUID();
    const bytes = await pngBytes("#445566");
    const first = await upload({ bytes, ...withKey(key) });
    const arrived = await putUpload(shared.storage, bytes);
    const params = { id: userId, visibility: "public", ...arrived } as const;
    const again = await ask(broker, "images.create", params, withKey(key));
    expect(again).toEqual({ result: first, isReplay: true });
    const { count } = await nodes.sqlOne<{ count: number }>(
      "SELECT count(*)::integer AS count FROM images.images WHERE sha256 = $1",
      [first.sha256],
    );
    expect(count).toBe(1);
  });

  test("with other bytes is refused", async () => {
    const key = randomUUID();
    await upload({ bytes: await pngBytes("#111111"), ...withKey(key) });
    const other = upload({ bytes: await pngBytes("#222222"), ...withKey(key) });
    await expect(other).rejects.toMatchObject({ type: "IDEMPOTENCY_KEY_REUSED" });
  });

  test("twenty times at once makes one image, and the others learn of it or come too early", async () => {
    const key = randomUUID();
    const bytes = await pngBytes("#abcdef");
    const attempts = await Promise.allSettled(
      Array.from({ length: 20 }, () => upload({ bytes, ...withKey(key) })),
    );
    const made = attempts.flatMap((each) => (each.status === "fulfilled" ? [each.value.id] : []));
    const refused = attempts.flatMap((each) => (each.status === "rejected" ? [each.reason as object] : []));
    expect(new Set(made).size).toBe(1);
    for (const reason of refused) expect(reason).toMatchObject({ type: "IDEMPOTENCY_IN_FLIGHT" });
    expect(await nodes.sql("SELECT FROM images.removals")).toEqual([]);
  });
});

describe("an image", () => {
  test("is nobody's business but its user's, admins' and that of keys", async () => {
    const image = await upload();
    const stranger = as(user(newId()));
    for (const name of ["images.get", "images.delete"] as const) {
      await expect(call(broker, name, { id: image.id }, stranger)).rejects.toMatchObject({
        type: "IMAGE_NOT_FOUND",
      });
    }
    const readers: Principal[] = [
      user(userId),
      { kind: "user", id: newId(), role: "admin" },
      { kind: "api-key", id: newId(), scopes: ["images:read"] },
    ];
    for (const reader of readers) {
      expect(await call(broker, "images.get", { id: image.id.toUpperCase() }, as(reader))).toEqual(image);
    }
    const wrongKey = as({ kind: "api-key", id: newId(), scopes: ["images:write"] });
    await expect(call(broker, "images.get", { id: image.id }, wrongKey)).rejects.toMatchObject({
      type: "FORBIDDEN",
    });
  });

  test("that is deleted is gone with its files, and an event says so", async () => {
    const image = await upload();
    expect(await call(broker, "images.delete", { id: image.id }, as(user(userId)))).toBeNull();
    await expect(call(broker, "images.get", { id: image.id })).rejects.toMatchObject({
      type: "IMAGE_NOT_FOUND",
    });
    await untilFilesAreGone(image);
    expect((await storedEvents(nodes, image.id)).map(({ type, data }) => [type, data.version])).toEqual([
      ["image-created_v1", 1],
      ["image-deleted_v1", 2],
    ]);
  });

  test("cannot be deleted twice, but the same request is answered twice", async () => {
    const { id } = await upload();
    const key = withKey(randomUUID());
    await call(broker, "images.delete", { id }, key);
    expect(await ask(broker, "images.delete", { id }, key)).toEqual({ result: null, isReplay: true });
    await expect(call(broker, "images.delete", { id })).rejects.toMatchObject({ type: "IMAGE_NOT_FOUND" });
  });
});

test("metrics tell what became of images, and what is still to be removed", async () => {
  const valueOf = async (name: string, labels = {}): Promise<number> =>
    (await metrics.scrape()).value(name, labels) ?? NaN;
  const before = await valueOf("images_processed_total", { outcome: "done" });
  await upload();
  expect(await valueOf("images_processed_total", { outcome: "done" })).toBe(before + 1);
  expect(await valueOf("images_workers")).toBeGreaterThan(0);
  expect(await valueOf("images_work_seconds_total")).toBeGreaterThan(0);
  expect(await valueOf("images_removals_pending")).toBe(0);
  await nodes.sql(
    "INSERT INTO images.removals VALUES (gen_random_uuid(), 'public', 'none', 1, now() + interval '1 hour')",
  );
  expect(await valueOf("images_removals_pending")).toBe(1);
  await nodes.sql("DELETE FROM images.removals");
});
