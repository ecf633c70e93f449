import { isDeepStrictEqual } from "node:util";

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { Redis } from "ioredis";
import type { ServiceBroker } from "moleculer";

import { cacheKey } from "../../broker/cache/cache-key.ts";
import { call } from "../../lib/contracts.ts";
import type { User } from "../../services/users/users.contract.ts";
import { startRedis } from "../support/redis.ts";
import { newUser } from "../support/rest-client.ts";
import type { TestServer } from "../support/server-process.ts";
import { startTestNodes, startUsersPair, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let redis: TestServer;
let caller: ServiceBroker;
let user: User;

beforeAll(async () => {
  [nodes, redis] = await Promise.all([startTestNodes(), startRedis()]);
  ({ caller } = await startUsersPair(nodes, { REDIS_URL: redis.url }));
});

beforeEach(async () => {
  user = await call(caller, "users.create", newUser());
});

afterAll(async () => {
  await nodes.stop();
  await redis.stop();
});

const read = (id: string): Promise<User> => call(caller, "users.get", { id });

test("a user that was just created is in the cache before anybody has read it", async () => {
  const client = new Redis(redis.url);
  // Several, since on a busy machine Redis may keep a read waiting for too long.
  const isCached = async (): Promise<boolean> => {
    const created = await call(caller, "users.create", newUser());
    const key = `rollcall:cache:${cacheKey("users.get", { id: created.id })}`;
    await waitFor(async () => (await client.exists(key)) === 1, { description: "the user to be in Redis" });
    await nodes.sql("UPDATE users.users SET nickname = 'past the product' WHERE id = $1", [created.id]);
    return isDeepStrictEqual(await read(created.id), created);
  };
  const reading = waitFor(isCached, { description: "a user to be read from the cache" });
  await expect(reading.finally(() => client.disconnect())).resolves.toBe(true);
});

describe("a cached user", () => {
  test("is the changed one after a change under its id in capitals", async () => {
    await read(user.id);
    await call(caller, "users.update", { id: user.id.toUpperCase(), nickname: "Countess" });
    await expect(read(user.id)).resolves.toMatchObject({ nickname: "Countess", version: 2 });
  });

  test("is the changed one when it is read by its id in capitals", async () => {
    await read(user.id.toUpperCase());
    await call(caller, "users.update", { id: user.id, nickname: "Countess" });
    await expect(read(user.id.toUpperCase())).resolves.toMatchObject({ nickname: "Countess", version: 2 });
  });

  test("is gone when it was erased by its id in capitals", async () => {
    await read(user.id);
    await call(caller, "users.erase", { id: user.id.toUpperCase() });
    await expect(read(user.id)).rejects.toMatchObject({ type: "USER_NOT_FOUND" });
    const [erased] = await nodes.sql<{ data: object }>(
      "SELECT data FROM events.outbox WHERE type = 'user-erased_v1'",
    );
    expect(erased).toEqual({ data: { id: user.id, version: 2 } });
  });
});
