import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { get as openGet, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";

import { appError } from "../../broker/errors.ts";
import { loadConfig } from "../../lib/config.ts";
import { mediaKey, mediaPath, type MediaFile } from "../../lib/media-path.ts";
import { createMediaUrls } from "../../lib/media-url.ts";
import { createUrlSigner } from "../../lib/signed-url.ts";
import { sendAndAbort } from "../support/raw-http.ts";
import { RestClient } from "../support/rest-client.ts";
import { startTestGateway, type GatewayCall, type TestGateway } from "../support/test-gateway.ts";
import { temporaryDir } from "../support/test-run.ts";
import { waitFor } from "../support/wait-for.ts";

const BYTES = randomBytes(100_000);
/** The secret of a test gateway. */
const SECRET = "";

let gateway: TestGateway;
/** Without credentials, as a browser that shows an image. */
let client: RestClient;
/** What `images.render` does. */
let render: (call: GatewayCall) => Promise<null>;

beforeAll(async () => {
  gateway = await startTestGateway({ "images.render": (call: GatewayCall) => render(call) });
  client = new RestClient(gateway.url);
});

beforeEach(() => {
  gateway.calls.length = 0;
  render = async () => {
    throw appError("IMAGE_NOT_FOUND");
  };
});

afterAll(async () => {
  client.close();
  await gateway.stop();
});

function newFile(file: Partial<MediaFile> = {}): MediaFile {
  const hash = randomBytes(32).toString("hex");
  return { visibility: "public", hash, preset: "small", format: "webp", ...file };
}

async function store(file: MediaFile, bytes = BYTES, at = gateway): Promise<void> {
  const path = join(temporaryDir("media"), "file");
  writeFileSync(path, bytes);
  await at.storage.put(mediaKey(file), { path, bytes: bytes.length, contentType: `image/${file.format}` });
}

/** The path of a file that is stored. */
async function storedPath(file = newFile()): Promise<string> {
  await store(file);
  return mediaPath(file);
}

describe("a file of a public image", () => {
  test.each(["avif", "webp", "jpeg"] as const)("is sent to everybody, as what it is: %s", async (format) => {
    const response = await client.get(await storedPath(newFile({ format })));
    expect(response.status).toBe(200);
    expect(response.bytes.equals(BYTES)).toBe(true);
    expect(response.headers).toMatchObject({
      "content-type": `image/${format}`,
      "content-length": "100000",
      "cache-control": "public, max-age=31536000, immutable",
      etag: expect.stringMatching(/^"[\da-z-]+"$/),
      "accept-ranges": "bytes",
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none';frame-ancestors 'none'",
      "strict-transport-security": expect.stringMatching(/^max-age=\d+/),
      "cross-origin-resource-policy": "cross-origin",
      "access-control-allow-origin": "*",
      "x-request-id": expect.any(String),
    });
  });

  test("is the same answer for every origin and encoding, so that a CDN keeps it once", async () => {
    const path = await storedPath();
    const plain = await client.get(path);
    const other = await client.get(path, { origin: "https://any.example", "accept-encoding": "gzip, br" });
    expect(other.bytes.equals(BYTES)).toBe(true);
    expect(other.headers).not.toHaveProperty("vary");
    expect(other.headers).not.toHaveProperty("content-encoding");
    expect(other.headers["access-control-allow-origin"]).toBe("*");
    expect(other.headers.etag).toBe(plain.headers.etag);
  });

  test("is not sent again to a client that has it", async () => {
    const path = await storedPath();
    const { headers } = await client.get(path);
    for (const tag of [headers.etag, `"other", W/${headers.etag}`, "*"]) {
      const response = await client.get(path, { "if-none-match": String(tag) });
      expect(response).toMatchObject({ status: 304, text: "" });
      expect(response.headers).toMatchObject({
        etag: headers.etag,
        "cache-control": "public, max-age=31536000, immutable",
      });
      for (const name of ["content-length", "content-type", "accept-ranges", "vary"])
        expect(response.headers).not.toHaveProperty(name);
    }
    expect((await client.get(path, { "if-none-match": '"other"' })).status).toBe(200);
  });

  test("has another tag when it was made anew", async () => {
    const file = newFile();
    const first = await client.get(await storedPath(file));
    await store(file, randomBytes(99_999));
    const known = { "if-none-match": String(first.headers.etag) };
    const second = await waitFor(
      async () => {
        const response = await client.get(mediaPath(file), known);
        return response.status === 200 ? response : undefined;
      },
      { description: "the new file to be sent" },
    );
    expect(second?.bytes).toHaveLength(99_999);
    expect(second?.headers.etag).not.toBe(first.headers.etag);
  });

  test("is described by HEAD", async () => {
    const path = await storedPath();
    const { headers } = await client.get(path);
    const response = await client.request("HEAD", path, { headers: { range: "bytes=0-9" } });
    expect(response).toMatchObject({ status: 200, text: "" });
    expect(response.headers).toMatchObject({ "content-length": "100000", etag: headers.etag });
    const known = { "if-none-match": String(headers.etag) };
    expect((await client.request("HEAD", path, { headers: known })).status).toBe(304);
  });

  test.each([
    ["bytes=0-9", 0, 9],
    ["bytes=99990-", 99_990, 99_999],
    ["bytes=99990-200000", 99_990, 99_999],
    ["bytes=-10", 99_990, 99_999],
    ["bytes=-200000", 0, 99_999],
  ])("is sent in part: %s", async (range, start, end) => {
    const response = await client.get(await storedPath(), { range });
    expect(response.status).toBe(206);
    expect(response.headers).toMatchObject({
      "content-range": `bytes ${start}-${end}/100000`,
      "content-length": String(end - start + 1),
    });
    expect(response.bytes.equals(BYTES.subarray(start, end + 1))).toBe(true);
  });

  test.each(["bytes=100000-", "bytes=-0", "bytes=100000-100001"])("has no part %s", async (range) => {
    const response = await client.get(await storedPath(), { range });
    expect(response.status).toBe(416);
    expect(response.headers).toMatchObject({
      "content-range": "bytes */100000",
      "content-type": "application/problem+json",
      "cache-control": "no-store",
    });
    expect(response.json).toMatchObject({ code: "RANGE_NOT_SATISFIABLE" });
  });

  test.each(["bytes=0-1,5-6", "bytes=9-0", "bytes=-", "bytes=a-b", "lines=0-1", ""])(
    "is sent whole for a range that may be ignored: %j",
    async (range) => {
      const response = await client.get(await storedPath(), { range });
      expect(response.status).toBe(200);
      expect(response.bytes).toHaveLength(100_000);
    },
  );

  test("is sent whole to a client that has a part of another one", async () => {
    const path = await storedPath();
    const { headers } = await client.get(path);
    const range = "bytes=0-9";
    const statusFor = async (ifRange: string) =>
      (await client.get(path, { range, "if-range": ifRange })).status;
    expect(await statusFor(String(headers.etag))).toBe(206);
    expect(await statusFor('"other"')).toBe(200);
    expect(await statusFor(`W/${headers.etag}`)).toBe(200);
    expect(await statusFor(new Date().toUTCString())).toBe(200);
  });

  test.each(["POST", "PUT", "PATCH", "DELETE"])("cannot be changed by %s", async (method) => {
    const response = await client.request(method, await storedPath());
    expect(response.status).toBe(405);
    expect(response.headers.allow).toBe("GET, HEAD, OPTIONS");
    expect(response.json).toMatchObject({ code: "METHOD_NOT_ALLOWED" });
  });

  test("says what may be done with it", async () => {
    const response = await client.request("OPTIONS", await storedPath());
    expect(response.status).toBe(204);
    expect(response.headers.allow).toBe("GET, HEAD, OPTIONS");
  });

  test.each([1000, 100_000, 1_000_000])(
    "of %d bytes is gone seconds after it was removed, also for those who have its tag",
    async (size) => {
      const file = newFile();
      await store(file, randomBytes(size));
      const path = mediaPath(file);
      const { headers } = await client.get(path);
      await gateway.storage.remove([mediaKey(file)]);
      const known = { "if-none-match": String(headers.etag) };
      const isGone = async () => (await client.get(path, known)).status === 404;
      await waitFor(isGone, { description: "the file to be gone" });
      const statuses = await Promise.all([
        client.get(path),
        client.get(path, known),
        client.get(path, { range: "bytes=0-9" }),
      ]);
      expect(statuses.map(({ status }) => status)).toEqual([404, 404, 404]);
    },
  );
});

describe("a file of a private image", () => {
  const urls = createMediaUrls(loadConfig({ MEDIA_URL_TTL_SECONDS: "600" }), SECRET);

  test("is sent to whoever has its signed URL, who may keep it until that ends", async () => {
    const file = newFile({ visibility: "private" });
    await store(file);
    const response = await client.get(urls.urlOf(file, urls.expiry()));
    expect(response.status).toBe(200);
    expect(response.bytes.equals(BYTES)).toBe(true);
    const [, maxAge] =
      /^private, max-age=(\d+), immutable$/.exec(response.headers["cache-control"] ?? "") ?? [];
    expect(Number(maxAge)).toBeGreaterThan(500);
    expect(Number(maxAge)).toBeLessThanOrEqual(1200);
    expect(response.headers).not.toHaveProperty("access-control-allow-origin");
    const tag = String(response.headers.etag);
    expect((await client.get(urls.urlOf(file, urls.expiry()), { "if-none-match": tag })).status).toBe(304);
  });

  test("is refused without one, as is one that is not there", async () => {
    const file = newFile({ visibility: "private" });
    await store(file);
    const path = mediaPath(file);
    const other = urls.urlOf(newFile({ visibility: "private" }), urls.expiry());
    const past = createUrlSigner(SECRET).sign({ method: "GET", path }, Math.floor(Date.now() / 1000) - 1);
    const put = createUrlSigner(SECRET).sign({ method: "PUT", path }, urls.expiry());
    for (const url of [
      path,
      `${path}?${other.split("?")[1]}`,
      past,
      put,
      mediaPath(newFile({ visibility: "private" })),
    ]) {
      const response = await client.get(url);
      expect(response.status).toBe(403);
      expect(response.json).toMatchObject({ code: "INVALID_SIGNATURE", instance: url.split("?")[0] });
    }
  });

  test("is not under the path of public ones, nor the other way round", async () => {
    const file = newFile({ visibility: "private" });
    await store(file);
    expect((await client.get(mediaPath({ ...file, visibility: "public" }))).status).toBe(404);
    const open = newFile();
    await store(open);
    const url = urls.urlOf({ ...open, visibility: "private" }, urls.expiry());
    expect((await client.get(url)).status).toBe(404);
  });
});

describe("a file that is not there", () => {
  test("is made once, for all who ask for it", async () => {
    const file = newFile({ preset: "medium", format: "jpeg" });
    render = async () => {
      await store(file);
      return null;
    };
    const responses = await Promise.all(Array.from({ length: 20 }, () => client.get(mediaPath(file))));
    expect(responses.map(({ status }) => status)).toEqual(responses.map(() => 200));
    expect(gateway.calls).toHaveLength(1);
    expect(gateway.calls[0]).toMatchObject({ action: "images.render", params: file });
    expect(gateway.calls[0]?.meta).toMatchObject({ principal: { kind: "service" } });
  });

  test("is not found when the image has none, which is not asked again at once", async () => {
    const path = mediaPath(newFile());
    for (let count = 0; count < 3; count += 1) {
      const response = await client.get(path);
      expect(response.status).toBe(404);
      expect(response.json).toMatchObject({ code: "IMAGE_NOT_FOUND" });
      expect(response.headers["cache-control"]).toBe("no-store");
    }
    expect(gateway.calls).toHaveLength(1);
  });

  test("is not found when nothing was made after all", async () => {
    render = async () => null;
    expect((await client.get(mediaPath(newFile()))).status).toBe(404);
  });

  test("is asked for again after a failure", async () => {
    const file = newFile();
    render = async () => {
      throw appError("OVERLOADED");
    };
    const refused = await client.get(mediaPath(file));
    expect(refused.status).toBe(503);
    expect(refused.headers["retry-after"]).toBe("2");
    render = async () => {
      await store(file);
      return null;
    };
    expect((await client.get(mediaPath(file))).status).toBe(200);
  });

  test.each([
    "",
    "/",
    "/x",
    `/${"a".repeat(63)}/small.webp`,
    `/${"A".repeat(64)}/small.webp`,
    `/${"a".repeat(64)}`,
    `/${"a".repeat(64)}/small`,
    `/${"a".repeat(64)}/small.png`,
    `/${"a".repeat(64)}/Small.webp`,
    `/${"a".repeat(64)}/unknown.webp`,
    `/${"a".repeat(64)}/../../originals/x.webp`,
    `/${"a".repeat(64)}/%2e%2e%2fsmall.webp`,
    `/private/${"a".repeat(64)}`,
    "//etc/passwd",
  ])("is not even asked for when there can be none: /media%s", async (rest) => {
    const response = await client.get(`/media${rest}`);
    expect(response.status).toBe(404);
    expect(response.headers["content-type"]).toBe("application/problem+json");
    expect(gateway.calls).toEqual([]);
  });
});

describe("with limits of requests", () => {
  let limited: TestGateway;

  beforeEach(async () => {
    limited = await startTestGateway(
      { "images.render": () => render({} as GatewayCall) },
      { RATE_LIMIT: "on", RATE_LIMIT_READS: "3/1h", CORS_ORIGINS: "https://app.example" },
    );
  });

  afterEach(() => limited.stop());

  test("the answer to the first client of a file, which a CDN keeps, says nothing of that client", async () => {
    const anyone = new RestClient(limited.url);
    const file = newFile();
    render = async () => {
      await store(file, BYTES, limited);
      return null;
    };
    const { status, headers } = await anyone.get(mediaPath(file), { origin: "https://app.example" });
    const later = await anyone.get(mediaPath(file));
    anyone.close();
    expect(status).toBe(200);
    expect(headers["cache-control"]).toContain("public");
    expect(Object.keys(headers).toSorted()).toEqual(Object.keys(later.headers).toSorted());
  });

  test("only what has to be made counts", async () => {
    const anyone = new RestClient(limited.url);
    const file = newFile();
    await store(file, BYTES, limited);
    const statuses: number[] = [];
    for (let count = 0; count < 6; count += 1) {
      statuses.push(
        (await anyone.get(mediaPath(file))).status,
        (await anyone.get(mediaPath(newFile()))).status,
      );
    }
    expect(statuses).toEqual([200, 404, 200, 404, 200, 404, 200, 429, 200, 429, 200, 429]);
    anyone.close();
  });
});

describe("clients that do not take what they have asked for", () => {
  const LARGE = randomBytes(10_000_000);

  const openGets = (path: string, count: number): Promise<IncomingMessage[]> =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const [response] = (await once(openGet(`${gateway.url}${path}`, { agent: false }), "response")) as [
          IncomingMessage,
        ];
        return response;
      }),
    );
  /** Of buffers. What was sent already counts until it is collected. */
  const bytesInUse = (): number => {
    setFlagsFromString("--expose-gc");
    (runInNewContext("gc") as () => void)();
    return process.memoryUsage().arrayBuffers;
  };
  const openFiles = (hash: string): number =>
    readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).includes(hash);
      } catch {
        return false;
      }
    }).length;

  test("do not fill the memory, get all of it when they do, and leave no file open when they leave", async () => {
    const file = newFile();
    await store(file, LARGE);
    const before = bytesInUse();
    const responses = await openGets(mediaPath(file), 30);
    expect(openFiles(file.hash)).toBeGreaterThan(0);
    // All of it would be 300 MB.
    await waitFor(() => bytesInUse() - before < 100_000_000, { description: "only a part to be in memory" });

    const [slow, ...others] = responses;
    for (const response of others) response.destroy();
    const bytes = Buffer.concat(await Array.fromAsync(slow as AsyncIterable<Buffer>));
    expect(bytes.equals(LARGE)).toBe(true);
    await waitFor(() => openFiles(file.hash) === 0, { description: "the files to be closed" });
  });

  test("leave no file open when they have left before there is an answer", async () => {
    const file = newFile();
    await store(file, LARGE);
    const request = `GET ${mediaPath(file)} HTTP/1.1\r\nHost: x\r\n\r\n`;
    await Promise.all(Array.from({ length: 100 }, () => sendAndAbort(gateway.url, request)));
    expect((await client.get(mediaPath(file))).bytes).toHaveLength(10_000_000);
    await expect(waitFor(() => openFiles(file.hash) === 0, { description: "no open file" })).resolves.toBe(
      true,
    );
  });
});
