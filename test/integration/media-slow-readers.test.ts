import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { get, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "@jest/globals";

import { loadConfig } from "../../lib/config.ts";
import { createHttpServer } from "../../lib/http-server.ts";
import { mediaKey, mediaPath, type MediaFile } from "../../lib/media-path.ts";
import { S3Storage } from "../../lib/storage/s3.ts";
import { clientReader } from "../../services/api/client-address.ts";
import type { GatewayRequest } from "../../services/api/gateway-request.ts";
import { Media } from "../../services/api/media.ts";
import { putBytes } from "../support/image-uploads.ts";
import { startS3, type TestS3 } from "../support/s3-server.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { waitFor } from "../support/wait-for.ts";

/** Far more than sockets take for a client that reads nothing. */
const LARGE_BYTES = 16_000_000;
const LARGE: MediaFile = { visibility: "public", hash: "ab".repeat(32), preset: "large", format: "webp" };
const SMALL: MediaFile = { ...LARGE, preset: "small" };
const SLOW_READS = 6;
/** One is kept for clients that have none. */
const SLOW_READS_OF_ONE = 5;
const ONE = "127.0.0.1";
const OTHER = "127.0.0.2";
const THIRD = "127.0.0.3";

let s3: TestS3;
let storage: S3Storage;
let server: Server;
let answers: IncomingMessage[];

beforeAll(async () => {
  s3 = await startS3();
  storage = new S3Storage({
    endpoint: s3.url,
    publicEndpoint: undefined,
    region: "us-east-1",
    bucket: s3.bucket,
    accessKeyId: s3.accessKeyId,
    secretAccessKey: s3.secretAccessKey,
    isPathStyle: true,
    timeoutMs: 20_000,
    maxSockets: SLOW_READS + 2,
    log: silentLogger,
  });
  await putBytes(storage, mediaKey(LARGE), randomBytes(LARGE_BYTES));
});

afterAll(async () => {
  storage.close();
  await s3.stop();
});

beforeEach(async () => {
  answers = [];
  const media = new Media({
    storage,
    config: loadConfig({}),
    secret: "a secret of the test, 32 characters",
    limits: undefined,
    clientOf: clientReader({ count: 0 }),
    maxSlowReads: SLOW_READS,
    log: silentLogger,
    render: () => Promise.reject(new Error("everything is there")),
  });
  server = createHttpServer((request, response) => void media.answer(request as GatewayRequest, response));
  // They may be as slow as they like.
  server.timeout = 0;
  await once(server.listen(0, "127.0.0.1"), "listening");
});

afterEach(async () => {
  for (const answer of answers) answer.destroy();
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
});

/** Asks for a file, of which nothing is taken yet. */
async function ask(file: MediaFile, localAddress: string): Promise<IncomingMessage> {
  const { port } = server.address() as AddressInfo;
  const request = get({ host: "127.0.0.1", port, path: mediaPath(file), localAddress, agent: false });
  const [answer] = (await once(request, "response")) as [IncomingMessage];
  // It is broken off in the end.
  answers.push(answer.on("error", () => undefined));
  return answer;
}

const askOften = (count: number, address: string): Promise<IncomingMessage[]> =>
  Promise.all(Array.from({ length: count }, () => ask(LARGE, address)));

test("clients that are slow to take files hold the storage up neither for others nor for what is stored", async () => {
  const slow = await askOften(SLOW_READS_OF_ONE, ONE);
  expect(slow.map(({ statusCode }) => statusCode)).toEqual(slow.map(() => 200));
  const refused = await ask(LARGE, ONE);
  expect(refused).toMatchObject({ statusCode: 429, headers: { "retry-after": "2" } });
  expect(await refused.toArray().then(String)).toContain("TOO_MANY_DOWNLOADS");
  expect((await ask(LARGE, OTHER)).statusCode).toBe(200);
  const overloaded = await ask(LARGE, THIRD);
  expect(overloaded).toMatchObject({
    statusCode: 503,
    headers: { "retry-after": "2", "cache-control": "no-store" },
  });
  expect(overloaded.headers).not.toHaveProperty("etag");

  await putBytes(storage, mediaKey(SMALL), randomBytes(1000));
  expect((await ask(SMALL, ONE)).statusCode).toBe(200);
});

test("a place is free again when its client has all of a file, or has left", async () => {
  const [first, second] = await askOften(SLOW_READS_OF_ONE, ONE);
  expect((await ask(LARGE, ONE)).statusCode).toBe(429);
  const chunks = (await first?.toArray()) as Buffer[];
  expect(Buffer.concat(chunks)).toHaveLength(LARGE_BYTES);
  second?.destroy();
  const statuses: unknown[] = [];
  await waitFor(
    async () => {
      const { statusCode } = await ask(LARGE, ONE);
      if (statusCode === 200) statuses.push(statusCode);
      return statuses.length === 2;
    },
    { description: "two places to be free" },
  );
  expect((await ask(LARGE, ONE)).statusCode).toBe(429);
});
