import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as openRequest, type IncomingMessage } from "node:http";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Errors } from "moleculer";

import { appError } from "../../../../broker/errors.ts";
import { newId } from "../../../../lib/ids.ts";
import { uploadKey } from "../../../../lib/media-path.ts";
import { createUrlSigner } from "../../../../lib/signed-url.ts";
import { fileForm } from "../../../support/multipart.ts";
import { sendRaw } from "../../../support/raw-http.ts";
import { startTestGateway, type GatewayCall, type TestGateway } from "../../../support/test-gateway.ts";

const ID = "01890a5d-ac96-774b-bcce-b302099a8057";
const PATH = `/api/v1/users/${ID}/images`;
const PNG = { "content-type": "image/png" };
const CONTENT = randomBytes(50_000);

const IMAGE = {
  id: ID,
  version: 1,
  visibility: "public",
  urls: {
    thumb: { avif: "/media/hash/thumb.avif", jpeg: "/media/hash/thumb.jpeg" },
    large: { avif: "https://cdn.example/media/hash/large.avif", jpeg: "/media/hash/large.jpeg" },
  },
  urlsExpireAt: null as string | null,
};

let gateway: TestGateway;
/** What `images.create` does. */
let create: (call: GatewayCall) => unknown;
let image: typeof IMAGE;

beforeEach(async () => {
  create = () => IMAGE;
  image = IMAGE;
  gateway = await startTestGateway({
    "images.create": (call: GatewayCall) => create(call),
    "images.get": () => image,
    "images.startUpload": { uploadId: ID, url: "/somewhere" },
  });
});

afterEach(() => gateway.stop());

async function storedUploads(): Promise<string[]> {
  return (await Array.fromAsync(gateway.storage.list("uploads/"))).map(({ key }) => key);
}

async function storedBytes(key: string): Promise<Buffer> {
  const { stream } = (await gateway.storage.read(key)) ?? {};
  return Buffer.concat(stream ? await Array.fromAsync(stream as AsyncIterable<Buffer>) : []);
}

describe("an upload", () => {
  test("is in the storage while the image is made of it, and not afterwards", async () => {
    let stored: Buffer | undefined;
    create = async ({ params }) => {
      stored = await storedBytes(uploadKey(String(params["uploadId"])));
      return IMAGE;
    };
    const { body, headers } = fileForm(CONTENT);
    const response = await gateway.client.post(PATH, body, headers);
    expect(response).toMatchObject({
      status: 201,
      headers: { location: `/api/v1/images/${ID}`, etag: expect.stringMatching(/^"[\w-]{43}"$/) },
      json: IMAGE,
    });
    expect(gateway.calls.map(({ action, params }) => ({ action, params }))).toEqual([
      {
        action: "images.create",
        params: {
          id: ID,
          uploadId: expect.any(String),
          bytes: CONTENT.length,
          sha256: createHash("sha256").update(CONTENT).digest("hex"),
          visibility: "public",
        },
      },
    ]);
    expect(stored?.equals(CONTENT)).toBe(true);
    expect(await storedUploads()).toEqual([]);
  });

  test.each([
    ["is refused", appError("UNSUPPORTED_IMAGE_TYPE"), 415, "UNSUPPORTED_IMAGE_TYPE"],
    ["cannot be made now", appError("STORAGE_UNAVAILABLE"), 503, "STORAGE_UNAVAILABLE"],
    ["takes too long", new Errors.RequestTimeoutError({ action: "", nodeID: "" }), 504, "UPSTREAM_TIMEOUT"],
  ])("is removed too when the image %s", async (_what, error, status, code) => {
    create = () => Promise.reject(error);
    const response = await gateway.client.post(PATH, CONTENT, PNG);
    expect(response).toMatchObject({ status, json: { code } });
    expect(await storedUploads()).toEqual([]);
  });

  test("says in its query who may see the image", async () => {
    await gateway.client.post(`${PATH}?visibility=private`, CONTENT, PNG);
    expect(gateway.calls[0]?.params).toMatchObject({ visibility: "private" });
  });

  test("passes on the key of the client, which is checked", async () => {
    await gateway.client.post(PATH, CONTENT, { ...PNG, "idempotency-key": "order-4711" });
    expect(JSON.stringify(gateway.calls[0]?.headers)).toContain("order-4711");
    const refused = await gateway.client.post(PATH, CONTENT, { ...PNG, "idempotency-key": "é" });
    expect(refused.json).toMatchObject({ errors: [{ field: "Idempotency-Key" }] });
  });

  const refusals: [string, string, Record<string, string>, number][] = [
    ["with a parameter that is not known", `${PATH}?public=true`, PNG, 400],
    ["whose id is in the query", `${PATH}?id=${ID}`, PNG, 400],
    ["whose upload is in the query", `${PATH}?uploadId=${ID}`, PNG, 400],
    ["for neither everybody nor nobody", `${PATH}?visibility=friends`, PNG, 400],
    ["of another type", PATH, { "content-type": "application/json" }, 415],
    ["in an answer that cannot be given", PATH, { ...PNG, accept: "text/html" }, 406],
  ];

  test.each(refusals)("%s is refused before it is sent", async (_what, path, headers, status) => {
    expect(await withoutBody(path, headers)).toBe(status);
    expect(gateway.calls).toEqual([]);
  });

  test("that is refused while it is sent gets its answer all the same", async () => {
    const body = Buffer.alloc(11_000_000);
    const head =
      `POST ${PATH} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${gateway.client.token}\r\n` +
      `Content-Type: image/png\r\nContent-Length: ${body.length}\r\n\r\n`;
    const answer = await sendRaw(gateway.url, [head, body]);
    expect(answer).toMatchObject({ status: 413, headers: { connection: "close" } });
  });

  test("of nobody is refused before it is sent", async () => {
    expect(await withoutBody(PATH, { ...PNG, authorization: "Bearer of-nobody" })).toBe(401);
  });
});

/** The status of the answer to a request that announces its body and waits for the word to send it, which must not come. */
async function withoutBody(path: string, headers: Record<string, string>): Promise<number | undefined> {
  const request = openRequest(gateway.url + path, {
    method: "POST",
    agent: false,
    headers: {
      authorization: `Bearer ${gateway.client.token}`,
      ...headers,
      "content-length": "10",
      expect: "100-continue",
    },
  });
  request.once("continue", () => request.destroy(new Error("The body is wanted.")));
  request.flushHeaders();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  request.destroy();
  return response.statusCode;
}

describe("an image", () => {
  const path = `/api/v1/images/${ID}`;

  test("is known by its ETag until its URLs change", async () => {
    const { etag = "" } = (await gateway.client.get(path)).headers;
    expect((await gateway.client.get(path, { "if-none-match": etag })).status).toBe(304);
    image = { ...IMAGE, urlsExpireAt: "2030-01-01T00:00:00.000Z" };
    expect((await gateway.client.get(path, { "if-none-match": etag })).status).toBe(200);
  });

  test("leads to its largest file in the format that the client likes best", async () => {
    const response = await gateway.client.get(`${path}/content`, { accept: "image/avif,image/*;q=0.8" });
    expect(response).toMatchObject({
      status: 302,
      headers: {
        location: "https://cdn.example/media/hash/large.avif",
        vary: "Accept",
        "cache-control": "private, no-cache",
      },
      text: "",
    });
  });

  test("leads to the preset that is asked for, and to what all can show without a wish", async () => {
    const { headers } = await gateway.client.get(`${path}/content?preset=thumb`);
    expect(headers.location).toBe("/media/hash/thumb.jpeg");
    expect((await gateway.client.request("HEAD", `${path}/content?preset=thumb`)).status).toBe(302);
  });

  test.each([
    ["preset=huge", 400, { code: "VALIDATION_FAILED", errors: [{ field: "preset", rule: "enum" }] }],
    ["preset=__proto__", 400, { errors: [{ field: "preset" }] }],
    ["preset=constructor", 400, { errors: [{ field: "preset" }] }],
    ["size=thumb", 400, { errors: [{ field: "size", rule: "unknown" }] }],
    ["preset=thumb&preset=large", 400, { errors: [{ field: "preset", rule: "duplicate" }] }],
  ])("leads nowhere for %s", async (query, status, json) => {
    expect(await gateway.client.get(`${path}/content?${query}`)).toMatchObject({ status, json });
  });

  test("is not acceptable to a client that takes none of its formats", async () => {
    const response = await gateway.client.get(`${path}/content`, { accept: "image/webp" });
    expect(response).toMatchObject({ status: 406, json: { code: "NOT_ACCEPTABLE" } });
  });
});

describe("bytes for a signed URL", () => {
  const uploadId = newId();
  const path = `/api/v1/uploads/${uploadId}`;
  const request = { method: "PUT", path, bytes: CONTENT.length, contentType: "image/png" } as const;
  const expiry = Math.floor(Date.now() / 1000) + 600;
  const url = createUrlSigner("").sign(request, expiry);

  const put = (to: string, body = CONTENT, headers: Record<string, string> = PNG) =>
    gateway.client.request("PUT", to, { body, headers: { authorization: "Bearer of-nobody", ...headers } });

  test("are stored, and replaced when they are sent again", async () => {
    expect((await put(url)).status).toBe(204);
    expect(await storedUploads()).toEqual([uploadKey(uploadId)]);
    const others = randomBytes(CONTENT.length);
    expect((await put(url, others)).status).toBe(204);
    expect((await storedBytes(uploadKey(uploadId))).equals(others)).toBe(true);
    expect(gateway.calls).toEqual([]);
  });

  test.each<[string, () => ReturnType<typeof put>]>([
    ["of another size", () => put(url, CONTENT.subarray(1))],
    ["of a size that is not announced", () => put(url, CONTENT, { ...PNG, "transfer-encoding": "chunked" })],
    ["of another type", () => put(url, CONTENT, { "content-type": "image/jpeg" })],
    ["at another upload", () => put(url.replace(uploadId, newId()))],
    ["at a URL without a signature", () => put(path)],
    [
      "at a URL whose signature was changed",
      () => put(url.replace(/.$/, (last) => (last === "A" ? "E" : "A"))),
    ],
    ["at a URL with more in it", () => put(`${url}&x=1`)],
    ["at a URL of another secret", () => put(createUrlSigner("another").sign(request, expiry))],
    ["at a URL for reading", () => put(createUrlSigner("").sign({ method: "GET", path }, expiry))],
    ["too late", () => put(createUrlSigner("").sign(request, expiry - 700))],
  ])("%s are refused", async (_what, send) => {
    expect(await send()).toMatchObject({ status: 403, json: { code: "INVALID_SIGNATURE" } });
    expect(await storedUploads()).toEqual([]);
  });

  test("come by no other method", async () => {
    const response = await gateway.client.post(url, CONTENT, PNG);
    expect(response).toMatchObject({ status: 405, headers: { allow: "PUT, OPTIONS" } });
    const options = await gateway.client.request("OPTIONS", url);
    expect(options).toMatchObject({ status: 204, headers: { allow: "PUT, OPTIONS" } });
  });
});
