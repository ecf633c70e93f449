import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { get as openGet, type IncomingMessage } from "node:http";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";

import { mediaKey, mediaPath, type MediaFile } from "../../lib/media-path.ts";
import { RestClient } from "../support/rest-client.ts";
import { startS3Proxy, type S3Fault, type S3Proxy } from "../support/s3-proxy.ts";
import { startS3, type TestS3 } from "../support/s3-server.ts";
import { startTestGateway, type TestGateway } from "../support/test-gateway.ts";
import { temporaryDir } from "../support/test-run.ts";
import { waitFor } from "../support/wait-for.ts";

const BYTES = randomBytes(1_000_000);
const FILE: MediaFile = { visibility: "public", hash: "ab".repeat(32), preset: "large", format: "webp" };
const PATH = mediaPath(FILE);
/** Far more than sockets take for a client that reads nothing, so that none is sent whole to one that leaves. */
const HUGE_BYTES = randomBytes(16_000_000);
const HUGE_FILE: MediaFile = { ...FILE, hash: "cd".repeat(32) };

let s3: TestS3;
let proxy: S3Proxy;
let gateway: TestGateway;
let client: RestClient;

beforeAll(async () => {
  s3 = await startS3();
  proxy = await startS3Proxy(s3.url);
  gateway = await startTestGateway(
    {},
    {
      STORAGE: "s3",
      STORAGE_TIMEOUT_MS: "3000",
      S3_ENDPOINT: proxy.url,
      S3_BUCKET: s3.bucket,
      S3_ACCESS_KEY_ID: s3.accessKeyId,
      S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
      S3_PATH_STYLE: "on",
    },
  );
  client = new RestClient(gateway.url);
  await store(FILE, BYTES);
});

beforeEach(() => {
  proxy.fault = "none";
});

async function store(file: MediaFile, content: Buffer): Promise<void> {
  const path = join(temporaryDir("media"), "file");
  writeFileSync(path, content);
  const { storage } = gateway;
  await storage.put(mediaKey(file), { path, bytes: content.length, contentType: "image/webp" });
}

afterAll(async () => {
  client.close();
  await gateway.stop();
  await Promise.all([proxy.stop(), s3.stop()]);
});

test("a file in S3 is served whole, in part, or not again", async () => {
  const whole = await client.get(PATH);
  expect(whole.status).toBe(200);
  expect(whole.bytes.equals(BYTES)).toBe(true);
  const part = await client.get(PATH, { range: "bytes=500000-500009" });
  expect(part.status).toBe(206);
  expect(part.headers["content-range"]).toBe("bytes 500000-500009/1000000");
  expect(part.bytes.equals(BYTES.subarray(500_000, 500_010))).toBe(true);
  expect((await client.get(PATH, { "if-none-match": String(whole.headers.etag) })).status).toBe(304);
});

test.each<S3Fault>(["busy", "silent", "deaf"])(
  "while the storage is %s, clients are told to come again, and are served when it is back",
  async (fault) => {
    proxy.fault = fault;
    const requests = [{}, { range: "bytes=0-9" }, { "if-none-match": '"x"' }];
    for (const response of await Promise.all(requests.map((headers) => client.get(PATH, headers)))) {
      expect(response.status).toBe(503);
      expect(response.json).toMatchObject({ code: "STORAGE_UNAVAILABLE", retryable: true });
      expect(response.headers).toMatchObject({ "retry-after": "2", "cache-control": "no-store" });
      expect(response.headers).not.toHaveProperty("etag");
    }
    proxy.fault = "none";
    expect((await client.get(PATH)).status).toBe(200);
  },
);

test.each<S3Fault>(["half-answer", "broken-answer"])(
  "a file whose bytes end in the middle ends its connection, so that nobody takes it for whole: %s",
  async (fault) => {
    proxy.fault = fault;
    await expect(client.get(PATH)).rejects.toMatchObject({ code: "ECONNRESET" });
  },
);

test("clients that leave in the middle leave no connection to the storage behind", async () => {
  await store(HUGE_FILE, HUGE_BYTES);
  const responses = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const [response] = (await once(
        openGet(`${gateway.url}${mediaPath(HUGE_FILE)}`, { agent: false }),
        "response",
      )) as [IncomingMessage];
      return response;
    }),
  );
  for (const response of responses) response.destroy();
  const areClosed = waitFor(async () => (await proxy.connections()) === 0, {
    description: "the connections to be closed",
  });
  await expect(areClosed).resolves.toBe(true);
});
