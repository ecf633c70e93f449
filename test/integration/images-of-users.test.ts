import { createHash } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { newId } from "../../lib/ids.ts";
import { uploadKey } from "../../lib/media-path.ts";
import { Slots } from "../../lib/slots.ts";
import type { Image } from "../../services/images/images.contract.ts";
import type { User } from "../../services/users/users.contract.ts";
import {
  addUser,
  openSharedStorage,
  pngBytes,
  putUpload,
  untilNoFiles,
  uploadImage,
  type SharedStorage,
} from "../support/image-uploads.ts";
import { untilAllPublished } from "../support/outbox-rows.ts";
import { storedEvents } from "../support/stored-rows.ts";
import { messagesWith, streamFilesWith, tablesWith } from "../support/stored-text.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let shared: SharedStorage;
let broker: ServiceBroker;

beforeAll(async () => {
  [nodes, shared] = await Promise.all([startTestNodes(), openSharedStorage()]);
  // Two of images: whichever hears of a user has its images removed.
  await Promise.all(
    ["users,auth", "events", "images", "images"].map((SERVICES) =>
      nodes.start({ SERVICES, ...shared.settings }),
    ),
  );
  ({ broker } = await nodes.start({ SERVICES: "none", NODE_ID: "caller" }));
});

afterAll(async () => {
  await nodes.stop();
  shared.storage.close();
});

const upload = (userId: string, options: Parameters<typeof uploadImage>[2] = {}) =>
  uploadImage({ broker, storage: shared.storage }, userId, options);

/** The URL under which a user shows an image. */
const shownUrl = (image: Image): string => image.urls["large"]?.jpeg ?? "";

/** Waits until a user shows just these images, and returns it. */
function untilShown(id: string, images: readonly Image[], avatar: Image | null = null): Promise<User> {
  const wanted = { imageUrls: images.map(shownUrl), avatarUrl: avatar && shownUrl(avatar) };
  return waitFor(
    async () => {
      const user = await call(broker, "users.get", { id });
      expect(user).toMatchObject(wanted);
      return user;
    },
    { description: "the user to show its images" },
  );
}

const looks = new Slots(1);

function untilWorkedOn(id: string): Promise<boolean> {
  const hasOwner = async (): Promise<boolean> =>
    (await nodes.sql("SELECT FROM images.owners WHERE user_id = $1", [id])).length === 1;
  // The connection takes one statement after the other.
  return waitFor(() => looks.run(hasOwner), {
    description: "the upload to be worked on",
    intervalMs: 2,
  });
}

const listed = async (id: string): Promise<string[]> =>
  (await call(broker, "images.list", { id }, { meta: { $cache: false } })).data.map((image) => image.id);

describe("a user", () => {
  test("shows its public images, the newest first, and its avatar", async () => {
    const id = await addUser(broker);
    const first = await upload(id);
    await upload(id, { visibility: "private" });
    const second = await upload(id);
    await untilShown(id, [second, first]);

    expect(await call(broker, "images.setAvatar", { id, imageId: first.id })).toEqual(first);
    await untilShown(id, [second, first], first);
    await call(broker, "images.setAvatar", { id, imageId: second.id });
    await untilShown(id, [second, first], second);
    await call(broker, "images.clearAvatar", { id });
    const user = await untilShown(id, [second, first]);

    const events = await storedEvents(nodes, id);
    expect(events.filter(({ type }) => type === "user-avatar-changed_v1").map(({ data }) => data)).toEqual([
      { id, imageId: first.id },
      { id, imageId: second.id },
      { id, imageId: null },
    ]);
    expect(events.findLast(({ type }) => type === "user-updated_v1")).toMatchObject({
      data: user,
      changedFields: ["avatarUrl"],
      actor: "service:users-images",
    });
  });

  test("whose avatar is deleted has none any more, and events say both", async () => {
    const id = await addUser(broker);
    const image = await upload(id);
    await call(broker, "images.setAvatar", { id, imageId: image.id });
    await untilShown(id, [image], image);
    await call(broker, "images.delete", { id: image.id });
    await untilShown(id, []);
    const events = await storedEvents(nodes, id);
    expect(events.findLast(({ type }) => type === "user-avatar-changed_v1")?.data).toEqual({
      id,
      imageId: null,
    });
  });

  test("shows all of many images that came at once", async () => {
    const id = await addUser(broker);
    const images = await Promise.all(
      Array.from({ length: 8 }, async (_, index) =>
        upload(id, { bytes: await pngBytes(`#0000${index}${index}`) }),
      ),
    );
    const order = await listed(id);
    const newestFirst = images.toSorted((a, b) => order.indexOf(a.id) - order.indexOf(b.id));
    expect((await untilShown(id, newestFirst)).imageUrls).toHaveLength(8);
  });

  test("shows the newest hundred of more public images", async () => {
    const id = await addUser(broker);
    const newest = await upload(id);
    await nodes.sql(
      `INSERT INTO images.images
       SELECT (jsonb_populate_record(image, jsonb_build_object('id', gen_random_uuid(),
         'hash', encode(sha256(n::text::bytea), 'hex'), 'created_at', created_at - n * interval '1 s'))).*
       FROM images.images AS image, generate_series(1, 101) AS n WHERE user_id = $1`,
      [id],
    );
    const { imageUrls } = await call(broker, "images.ofUser", { id });
    const hundredth = createHash("sha256").update("99").digest("hex");
    expect(imageUrls).toHaveLength(100);
    expect(imageUrls[0]).toBe(shownUrl(newest));
    expect(imageUrls[99]).toContain(hundredth);
  });

  test("has no avatar that is private, of somebody else or not there", async () => {
    const [id, other] = await Promise.all([addUser(broker), addUser(broker)]);
    const [hidden, foreign] = await Promise.all([upload(id, { visibility: "private" }), upload(other)]);
    const set = (imageId: string) => call(broker, "images.setAvatar", { id, imageId });
    await expect(set(hidden.id)).rejects.toMatchObject({ type: "AVATAR_NOT_PUBLIC" });
    await expect(set(foreign.id)).rejects.toMatchObject({ type: "IMAGE_NOT_FOUND" });
    await expect(set(newId())).rejects.toMatchObject({ type: "IMAGE_NOT_FOUND" });
  });

  test("gets its images in its export", async () => {
    const id = await addUser(broker);
    const image = await upload(id, { visibility: "private" });
    const { images } = await call(broker, "users.export", { id });
    expect(images).toEqual({ data: [image], nextCursor: null });
  });
});

describe("the images of a user", () => {
  test("go with it when it is deleted, and a restored user begins anew", async () => {
    const id = await addUser(broker);
    const images = [await upload(id), await upload(id, { visibility: "private" })];
    await untilShown(id, images.slice(0, 1));
    await call(broker, "users.delete", { id });
    await untilNoFiles(shared, images);
    await expect(listed(id)).rejects.toMatchObject({ type: "USER_NOT_FOUND" });
    await expect(upload(id)).rejects.toMatchObject({ type: "USER_NOT_FOUND" });
    expect(await call(broker, "users.export", { id })).toMatchObject({
      images: { data: [], nextCursor: null },
    });

    await call(broker, "users.restore", { id });
    await untilShown(id, []);
    expect(await listed(id)).toEqual([]);
    await untilShown(id, [await upload(id)]);
  });

  test("that a restored user has uploaded stay, also when its deletion is handled after", async () => {
    const id = await addUser(broker);
    const before = await upload(id);
    const lock = await nodes.openTransaction([
      "SELECT FROM images.owners WHERE user_id = $1 FOR UPDATE",
      [id],
    ]);
    await call(broker, "users.delete", { id });
    await call(broker, "users.restore", { id });
    await nodes.untilBlocked(1);
    await lock.rollback();
    const after = await upload(id);
    await untilNoFiles(shared, [before]);
    expect(await listed(id)).toEqual([after.id]);
  });

  test("of uploads that are under way while the user is deleted are not there afterwards", async () => {
    const made: Image[] = [];
    const refusals: unknown[] = [];
    const ids = await Promise.all(Array.from({ length: 24 }, () => addUser(broker)));
    await Promise.all(
      ids.map(async (id, index) => {
        const uploads = [upload(id), upload(id, { visibility: "private" })];
        const outcomes = Promise.allSettled(uploads);
        // At once, while they are worked on, or when one of them is done.
        if (index % 3 === 1) await untilWorkedOn(id);
        if (index % 3 === 2) await Promise.race(uploads);
        await call(broker, "users.delete", { id });
        for (const outcome of await outcomes) {
          if (outcome.status === "fulfilled") made.push(outcome.value);
          else refusals.push(outcome.reason);
        }
      }),
    );
    for (const reason of refusals) expect(reason).toMatchObject({ type: "USER_NOT_FOUND" });
    await waitFor(
      async () => {
        expect(await nodes.sql("SELECT FROM images.images WHERE user_id = ANY ($1)", [ids])).toEqual([]);
        expect(await nodes.sql("SELECT FROM images.removals")).toEqual([]);
        return true;
      },
      { description: "all images to be gone" },
    );
    await untilNoFiles(shared, made);
    // Some were quicker than the deletion and some were not, or this would not be the race.
    expect(made.length).toBeGreaterThan(0);
    expect(made.length).toBeLessThan(2 * ids.length);
  });
});

/** Begins an upload of bytes that a client sends itself. */
async function startUpload(userId: string, bytes: Buffer): Promise<string> {
  const params = { contentType: "image/png", bytes: bytes.length, visibility: "private" } as const;
  return (await call(broker, "images.startUpload", { id: userId, ...params })).uploadId;
}

test("an upload is completed while the deletion of its user, which was restored since, waits", async () => {
  const id = await addUser(broker);
  const image = await upload(id);
  const bytes = await pngBytes();
  const [before, forgotten] = [await startUpload(id, bytes), await startUpload(id, bytes)];
  const lock = await nodes.openTransaction(["SELECT FROM images.owners WHERE user_id = $1 FOR SHARE", [id]]);
  await call(broker, "users.delete", { id });
  await call(broker, "users.restore", { id });
  await nodes.untilBlocked(1);
  // Whoever completes one shares the lock first: a deletion that held uploads by now would wait for it, and it for them.
  const free = await nodes.sql("SELECT FROM images.uploads WHERE user_id = $1 FOR UPDATE SKIP LOCKED", [id]);
  expect(free).toHaveLength(2);
  const after = await startUpload(id, bytes);
  for (const uploadId of [before, forgotten, after]) await putUpload(shared.storage, bytes, uploadId);
  const complete = (uploadId: string) => call(broker, "images.completeUpload", { id, uploadId });
  const first = await complete(before);
  await lock.rollback();
  await untilNoFiles(shared, [image]);
  await expect(complete(forgotten)).rejects.toMatchObject({ type: "UPLOAD_NOT_FOUND" });
  const second = await complete(after);
  expect(await listed(id)).toEqual([second.id, first.id]);
});

test("uploads that a user has not completed go with it, and so do their bytes", async () => {
  const [id, other] = [await addUser(broker), await addUser(broker)];
  const bytes = await pngBytes();
  const [arrived, missing, others] = [
    await startUpload(id, bytes),
    await startUpload(id, bytes),
    await startUpload(other, bytes),
  ];
  for (const uploadId of [arrived, others]) await putUpload(shared.storage, bytes, uploadId);
  await call(broker, "users.erase", { id });
  const ids = [arrived, missing, others];
  await waitFor(
    async () => {
      const left = await nodes.sql("SELECT id FROM images.uploads WHERE id = ANY ($1)", [ids]);
      expect(left).toEqual([{ id: others }]);
      expect(await shared.keys("uploads/")).toEqual([uploadKey(others)]);
      return true;
    },
    { description: "the uploads of the user to be gone, and no others" },
  );
  await shared.storage.remove([uploadKey(others)]);
});

test("of an erased user nothing is kept of its images, deleted ones among them", async () => {
  const id = await addUser(broker);
  const [kept, deleted] = [
    await upload(id, { bytes: await pngBytes("#a1b2c3") }),
    await upload(id, { bytes: await pngBytes("#c3b2a1"), visibility: "private" }),
  ];
  await call(broker, "images.delete", { id: deleted.id });
  await untilShown(id, [kept]);
  await untilAllPublished(nodes);
  const planted = [kept.sha256, kept.thumbhash, deleted.sha256, deleted.thumbhash];
  // Else the search below could not fail.
  expect(await tablesWith(nodes, kept.sha256)).toEqual(
    expect.arrayContaining(["images.images", "events.idempotency", "events.log"]),
  );
  expect(await tablesWith(nodes, deleted.sha256)).toContain("events.log");
  expect((await messagesWith(nodes, kept.sha256)).length).toBeGreaterThan(0);

  await call(broker, "users.erase", { id });
  await untilNoFiles(shared, [kept, deleted]);
  await waitFor(async () => (await tablesWith(nodes, kept.sha256)).length === 0, {
    description: "the events to be emptied",
  });
  await untilAllPublished(nodes);
  for (const text of planted) {
    expect([text, await tablesWith(nodes, text), await messagesWith(nodes, text)]).toEqual([text, [], []]);
    expect(await streamFilesWith(nodes, text)).toEqual([]);
  }
  expect((await storedEvents(nodes, kept.id)).map(({ type, data }) => [type, data])).toEqual([
    ["image-created_v1", { id: kept.id, version: 1 }],
    ["image-deleted_v1", { id: kept.id, userId: id, version: 2 }],
  ]);
});
