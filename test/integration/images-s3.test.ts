import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { addUser, openSharedStorage, uploadImage, type SharedStorage } from "../support/image-uploads.ts";
import { startS3Proxy, type S3Fault, type S3Proxy } from "../support/s3-proxy.ts";
import { startS3, type TestS3 } from "../support/s3-server.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let s3: TestS3;
/** Between the images node and the server. */
let proxy: S3Proxy;
/** On the server itself, as the test sees it. */
let direct: SharedStorage;
let broker: ServiceBroker;
let userId: string;

beforeAll(async () => {
  [nodes, s3] = await Promise.all([startTestNodes(), startS3()]);
  proxy = await startS3Proxy(s3.url);
  const settings = {
    STORAGE: "s3",
    S3_ENDPOINT: s3.url,
    S3_BUCKET: s3.bucket,
    S3_ACCESS_KEY_ID: s3.accessKeyId,
    S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
    S3_PATH_STYLE: "on",
  };
  direct = await openSharedStorage(settings);
  await nodes.start({ SERVICES: "users" });
  await nodes.start({
    SERVICES: "images",
    ...direct.settings,
    S3_ENDPOINT: proxy.url,
    STORAGE_TIMEOUT_MS: "2000",
  });
  ({ broker } = await nodes.start({ SERVICES: "none", NODE_ID: "caller" }));
  userId = await addUser(broker);
});

afterEach(() => {
  proxy.fault = "none";
  proxy.concerns = () => true;
});

afterAll(async () => {
  await nodes.stop();
  direct.storage.close();
  await proxy.stop();
  await s3.stop();
});

const upload = () => uploadImage({ broker, storage: direct.storage }, userId);
const untilEmpty = () =>
  waitFor(async () => (await direct.keys()).length === 0, { description: "the files to be gone" });
const countRows = async () => (await nodes.sql("SELECT FROM images.images")).length;

describe("with a storage in S3 an image", () => {
  test("is made, shown with its files, and deleted with them", async () => {
    const image = await upload();
    expect(await direct.keys()).toHaveLength(5);
    await call(broker, "images.delete", { id: image.id });
    await untilEmpty();
  });

  test.each<[string, S3Fault, (request: string) => boolean]>([
    ["does not answer at all", "silent", () => true],
    ["answers with 503 when files are written", "busy", (request) => request.startsWith("PUT")],
    ["does not answer when a preset is written", "silent", (request) => /^PUT .*large\.webp/.test(request)],
    ["breaks off while the upload is read", "broken-answer", (request) => request.includes("uploads/")],
  ])("is refused whole while the storage %s", async (_, fault, concerns) => {
    const [keys, rows] = [await direct.keys(), await countRows()];
    Object.assign(proxy, { fault, concerns });
    await expect(upload()).rejects.toMatchObject({
      type: "STORAGE_UNAVAILABLE",
      code: 503,
      retryable: true,
    });
    proxy.fault = "none";
    await waitFor(
      async () => {
        await nodes.sql("UPDATE images.removals SET not_before = now() WHERE attempts > 0");
        expect(await direct.keys()).toEqual(keys);
        return true;
      },
      { description: "nothing to be left", intervalMs: 250 },
    );
    expect(await countRows()).toBe(rows);
    await call(broker, "images.delete", { id: (await upload()).id });
    await untilEmpty();
  });

  test("is deleted at once also while the storage is away", async () => {
    const image = await upload();
    proxy.fault = "deaf";
    expect(await call(broker, "images.delete", { id: image.id })).toBeNull();
    await expect(call(broker, "images.get", { id: image.id })).rejects.toMatchObject({
      type: "IMAGE_NOT_FOUND",
    });
  });
});
