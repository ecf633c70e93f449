import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { adminClient } from "../support/admin.ts";
import { imagesOf, urlsOf, type ImageBody } from "../support/images-over-http.ts";
import { noisePicture } from "../support/pictures.ts";
import { problemOf } from "../support/problems.ts";
import type { RestClient, RestResponse } from "../support/rest-client.ts";
import { startRollcall, type Rollcall } from "../support/rollcall-process.ts";
import { startS3, type TestS3 } from "../support/s3-server.ts";

interface Upload {
  readonly uploadId: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
}

/** What a client does is the same for both. */
describe.each(["disk", "s3"])(
  "an image whose bytes the client sends itself, with storage on %s",
  (storage) => {
    let s3: TestS3 | undefined;
    let node: Rollcall;
    let client: RestClient;
    let path: string;

    beforeAll(async () => {
      s3 = storage === "s3" ? await startS3() : undefined;
      node = await startRollcall({ env: { STORAGE: storage, ...(s3 && settingsOf(s3)) } });
      client = await adminClient(node.url);
      path = imagesOf((await client.createUser()).id);
    });

    afterAll(async () => {
      client.close();
      await node.stop();
      await s3?.stop();
    });

    async function start(bytes: number): Promise<Upload> {
      const response = await client.post(`${path}/uploads`, { contentType: "image/png", bytes });
      expect(response).toMatchObject({ status: 201, headers: { "cache-control": "no-store" } });
      return response.json as Upload;
    }

    /** As a client that knows nothing of either storage. */
    async function send({ method, url, headers }: Upload, body: Buffer): Promise<number> {
      const { ok, status } = await fetch(new URL(url, node.url), {
        method,
        headers,
        body: new Uint8Array(body),
      });
      return ok ? 200 : status;
    }

    const complete = ({ uploadId }: Upload, headers = {}): Promise<RestResponse> =>
      client.post(`${path}/uploads/${uploadId}/complete`, undefined, headers);

    test("is made of them when the upload is completed, once", async () => {
      const content = await noisePicture({ width: 300, height: 200 });
      const upload = await start(content.length);
      expect(problemOf(await complete(upload)).code).toBe("UPLOAD_INCOMPLETE");
      expect(await send(upload, content)).toBe(200);
      const key = { "idempotency-key": `complete-${storage}` };
      const response = await complete(upload, key);
      expect(response).toMatchObject({
        status: 201,
        json: { width: 300, height: 200, bytes: content.length },
      });
      const image = response.json as ImageBody;
      expect(response.headers.location).toBe(`/api/v1/images/${image.id}`);
      const files = urlsOf(image).map(async (url) => (await client.get(url)).status);
      expect(new Set(await Promise.all(files))).toEqual(new Set([200]));

      const again = await complete(upload, key);
      expect(again).toMatchObject({ status: 201, headers: { "idempotent-replayed": "true" } });
      expect(problemOf(await complete(upload)).code).toBe("UPLOAD_NOT_FOUND");
    });

    test("is refused when they are no image", async () => {
      const content = Buffer.from("no image at all");
      const upload = await start(content.length);
      expect(await send(upload, content)).toBe(200);
      expect(problemOf(await complete(upload)).code).toBe("UNSUPPORTED_IMAGE_TYPE");
    });

    test("is not made of fewer bytes than were announced", async () => {
      const content = await noisePicture();
      const upload = await start(content.length);
      // It says the length, which the client knows better.
      const { "content-length": _, ...headers } = upload.headers;
      await send({ ...upload, headers }, content.subarray(1));
      expect(problemOf(await complete(upload)).code).toBe("UPLOAD_INCOMPLETE");
    });

    test("cannot be larger than any other", async () => {
      const response = await client.post(`${path}/uploads`, { contentType: "image/png", bytes: 10_485_761 });
      expect(problemOf(response)).toMatchObject({ status: 400, errors: [{ field: "bytes" }] });
    });
  },
);

function settingsOf({ url, bucket, accessKeyId, secretAccessKey }: TestS3): Record<string, string> {
  return {
    S3_ENDPOINT: url,
    S3_BUCKET: bucket,
    S3_ACCESS_KEY_ID: accessKeyId,
    S3_SECRET_ACCESS_KEY: secretAccessKey,
    S3_PATH_STYLE: "on",
  };
}
