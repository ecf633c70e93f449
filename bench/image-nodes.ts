import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { adminClient } from "../test/support/admin.ts";
import type { RestClient, RestResponse } from "../test/support/rest-client.ts";
import { startRollcall } from "../test/support/rollcall-process.ts";
import { temporaryDir } from "../test/support/test-run.ts";
import type { Servers } from "./servers.ts";

/** Rollcall as three nodes: a gateway, the users with logins, and images with the gateway's disk as their storage. */
export interface ImageNodes {
  client: RestClient;
  /** Who uploads. */
  userId: string;
  gatewayPid: number;
  /** Its workers are its children. */
  imagesPid: number;
  /** Sends a file as it is, with no word about its type, and gives the answer. */
  upload: (bytes: Buffer) => Promise<RestResponse>;
  stop(): Promise<void>;
}

/** Starts the nodes, with nearly the settings that they have by default. */
export async function startImageNodes(servers: Servers): Promise<ImageNodes> {
  // As after an install, also when the source was changed since.
  await promisify(execFile)(process.execPath, [join(import.meta.dirname, "../bootstrap/compile.js")]);
  const env = {
    DATABASE_URL: servers.databaseUrl,
    NATS_URL: servers.natsUrl,
    REDIS_URL: servers.redisUrl,
    SECRET: "a secret of the benchmark, 32 characters or more",
    AUTH_KEYS: "0".repeat(64),
    // The last of many uploads that come together is not to be refused, also where work takes longer than it should.
    IMAGE_TIMEOUT_MS: "300000",
    DATA_DIR: join(temporaryDir("images"), "data"),
    LOG_FORMAT: "json",
    LOG_LEVEL: "info",
    NODE_ENV: "production",
  };
  const start = (services: string) =>
    startRollcall({ env: { ...env, SERVICES: services, NODE_ID: services.replace(",", "-") } });
  const [users, images, gateway] = [await start("users,auth"), await start("images"), await start("api")];
  const client = await adminClient(gateway.url);
  const { id: userId } = (await client.get("/api/v1/auth/me")).json as { id: string };
  return {
    client,
    userId,
    gatewayPid: gateway.pid,
    imagesPid: images.pid,
    upload: (bytes) => {
      const headers = { "content-type": "application/octet-stream" };
      return client.request("POST", `/api/v1/users/${userId}/images`, { headers, body: bytes });
    },
    stop: async () => {
      client.close();
      for (const node of [gateway, images, users]) await node.stop();
    },
  };
}
