import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import type { RestClient } from "../support/rest-client.ts";
import { startCluster, type Cluster } from "../support/rollcall-cluster.ts";
import { waitFor } from "../support/wait-for.ts";

let cluster: Cluster;
let client: RestClient;
let id: string;

beforeAll(async () => {
  cluster = await startCluster();
  ({ client } = cluster);
  ({ id } = await client.createUser());
});

afterAll(() => cluster.stop());

const statusOf = async (path: string, headers: Record<string, string> = {}) =>
  (await client.get(path, headers)).headers["cache-status"];

describe("Cache-Status", () => {
  test("says that an answer came from the memory of the gateway, and for a 304 too", async () => {
    const statusFromMemory = async (path: string, headers = {}): Promise<number | false> => {
      const response = await client.get(`${path}/${id}`, headers);
      return response.headers["cache-status"] === "rollcall; hit; detail=memory" && response.status;
    };
    const description = "the gateway to have the user";
    expect(await waitFor(() => statusFromMemory("/api/v1/users"), { description })).toBe(200);
    const known = { "if-none-match": '"1"' };
    expect(await waitFor(() => statusFromMemory("/api/v1/profiles", known), { description })).toBe(304);
  });

  test("says that an answer was fetched because the client wanted it fresh", async () => {
    await expect(statusOf(`/api/v1/users/${id}`, { "cache-control": "no-cache" })).resolves.toBe(
      "rollcall; fwd=request; detail=database",
    );
  });

  test("is there for what does not exist, too", async () => {
    // A gateway that has heard for too long of no change, on a busy machine, does not use its memory.
    const isRemembered = async (): Promise<boolean> => {
      const path = `/api/v1/users/${randomUUID()}`;
      await expect(statusOf(path)).resolves.toMatch(/^rollcall; fwd=miss;/);
      return (await statusOf(path)) === "rollcall; hit; detail=memory";
    };
    await expect(waitFor(isRemembered, { description: "an answer from memory" })).resolves.toBe(true);
  });

  test("is not there for what is never cached", async () => {
    await expect(statusOf("/api/v1/users")).resolves.toBeUndefined();
    const written = await client.patch(`/api/v1/users/${id}`, { nickname: "Countess" });
    expect(written.headers["cache-status"]).toBeUndefined();
  });
});

describe("a user that is cached by the gateway", () => {
  test("is served while Redis is away, and is the changed one after a change", async () => {
    await cluster.redis.kill();
    for (const nickname of ["a", "b", "c"]) {
      const written = await client.patch(`/api/v1/users/${id}`, { nickname });
      expect(written.status).toBe(200);
      const isHeard = async () => {
        const read = await client.get(`/api/v1/users/${id}`);
        expect(read.status).toBe(200);
        return (read.json as { nickname: string }).nickname === nickname;
      };
      await waitFor(isHeard, { description: "the gateway to hear of the change" });
    }
    await cluster.redis.restart();
    const read = await client.get(`/api/v1/users/${id}`);
    expect(read.json).toMatchObject({ nickname: "c" });
  });
});
