import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { get, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";

import { loadConfig } from "../../lib/config.ts";
import { createHttpServer } from "../../lib/http-server.ts";
import { mediaKey, mediaPath, type MediaFile } from "../../lib/media-path.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import { createStorage } from "../../lib/storage/create-storage.ts";
import type { GatewayRequest } from "../../services/api/gateway-request.ts";
import { Media } from "../../services/api/media.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { temporaryDir } from "../support/test-run.ts";
import { waitFor } from "../support/wait-for.ts";

/** Far more than sockets take for a client that reads nothing. */
const BYTES = randomBytes(16_000_000);
const FILE: MediaFile = { visibility: "public", hash: "ab".repeat(32), preset: "large", format: "webp" };
/** Small enough to be held in memory. */
const SMALL: MediaFile = { ...FILE, preset: "small" };
const SMALL_BYTES = BYTES.subarray(0, 500_000);
/** That many of them are more than may wait in memory for slow clients. */
const CLIENTS = 150;

let storage: Storage;
let server: Server;

beforeEach(async () => {
  const config = loadConfig({ DATA_DIR: temporaryDir("media"), SERVICES: "none" });
  storage = await createStorage(config, silentLogger);
  await store(FILE, BYTES);
  await store(SMALL, SMALL_BYTES);
  const media = new Media({
    storage,
    config,
    secret: "a secret of the test, 32 characters",
    limits: undefined,
    log: silentLogger,
    clientOf: () => "a client",
    render: () => Promise.reject(new Error("everything is there")),
  });
  server = createHttpServer((request, response) => void media.answer(request as GatewayRequest, response));
  server.timeout = 2000;
  await once(server.listen(0, "127.0.0.1"), "listening");
});

afterEach(() => {
  server.close();
  server.closeAllConnections();
  storage.close();
});

async function store(file: MediaFile, bytes: Buffer): Promise<void> {
  const path = join(temporaryDir("media"), "file");
  writeFileSync(path, bytes);
  await storage.put(mediaKey(file), { path, bytes: bytes.length, contentType: "image/webp" });
}

const fetchFile = async (file: MediaFile): Promise<Buffer> => {
  const { port } = server.address() as AddressInfo;
  return Buffer.from(await (await fetch(`http://127.0.0.1:${port}${mediaPath(file)}`)).arrayBuffer());
};

test("clients that leave while a second answer waits behind the first take no memory with them", async () => {
  expect((await fetchFile(SMALL)).equals(SMALL_BYTES)).toBe(true);
  let requests = 0;
  server.on("request", () => (requests += 1));
  const { port } = server.address() as AddressInfo;
  const requestOf = (file: MediaFile) => `GET ${mediaPath(file)} HTTP/1.1\r\nHost: x\r\n\r\n`;
  const sockets = Array.from({ length: CLIENTS }, () => connect(port, "127.0.0.1"));
  for (const socket of sockets) socket.pause().write(requestOf(FILE) + requestOf(SMALL));
  await waitFor(() => requests === 2 * CLIENTS, {
    timeoutMs: 30_000,
    description: "both requests of each client",
  });
  for (const socket of sockets) socket.destroy();
  const countOpen = promisify(server.getConnections.bind(server));
  await waitFor(async () => (await countOpen()) <= 1, {
    timeoutMs: 30_000,
    description: "the connections to be closed",
  });

  const fresh: MediaFile = { ...SMALL, preset: "fresh" };
  await store(fresh, SMALL_BYTES);
  const read = jest.spyOn(storage, "read");
  for (let count = 0; count < 3; count += 1) {
    expect((await fetchFile(fresh)).equals(SMALL_BYTES)).toBe(true);
  }
  expect(read).toHaveBeenCalledTimes(1);
});

test("a client that takes nothing of a file is disconnected, and has not got all of it", async () => {
  const { port } = server.address() as AddressInfo;
  const requested = once(server, "request") as Promise<[IncomingMessage, ServerResponse]>;
  const client = get({ host: "127.0.0.1", port, path: mediaPath(FILE), agent: false });
  const [answer] = (await once(client, "response")) as [IncomingMessage];
  const [, response] = await requested;
  if (!response.closed) await once(response, "close");
  expect(response.writableFinished).toBe(false);
  await expect(answer.toArray()).rejects.toMatchObject({ code: "ECONNRESET" });
});
