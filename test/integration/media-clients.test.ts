import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "@jest/globals";

import { loadConfig } from "../../lib/config.ts";
import { mediaKey, mediaPath, type MediaFile } from "../../lib/media-path.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import { createStorage } from "../../lib/storage/create-storage.ts";
import type { GatewayRequest } from "../../services/api/gateway-request.ts";
import { Media } from "../../services/api/media.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { temporaryDir } from "../support/test-run.ts";

/** Far more than sockets take for a client that reads nothing. */
const BYTES = randomBytes(16_000_000);
const FILE: MediaFile = { visibility: "public", hash: "ab".repeat(32), preset: "large", format: "webp" };

let storage: Storage;
let server: Server;

beforeEach(async () => {
  const config = loadConfig({ DATA_DIR: temporaryDir("media"), SERVICES: "none" });
  storage = await createStorage(config, silentLogger);
  const path = join(temporaryDir("media"), "file");
  writeFileSync(path, BYTES);
  await storage.put(mediaKey(FILE), { path, bytes: BYTES.length, contentType: "image/webp" });
  const media = new Media({
    storage,
    config,
    secret: "a secret of the test, 32 characters",
    limits: undefined,
    log: silentLogger,
    idleMs: 500,
    render: () => Promise.reject(new Error("everything is there")),
  });
  server = createServer((request, response) => void media.answer(request as GatewayRequest, response));
  await once(server.listen(0, "127.0.0.1"), "listening");
});

afterEach(() => {
  server.close();
  server.closeAllConnections();
  storage.close();
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
