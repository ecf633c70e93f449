import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import type { User } from "../../services/users/users.contract.ts";
import { untilAllPublished } from "../support/outbox-rows.ts";
import { newUser } from "../support/rest-client.ts";
import { startRedis } from "../support/redis.ts";
import type { TestServer } from "../support/server-process.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let redis: TestServer;
let users: ServiceBroker;
let operator: ServiceBroker;
let user: User;

beforeAll(async () => {
  [nodes, redis] = await Promise.all([startTestNodes(), startRedis()]);
  const start = (services: string) =>
    nodes.start({ SERVICES: services, NODE_ID: services, REDIS_URL: redis.url });
  const started = await Promise.all(["users", "cache", "events"].map(start));
  [users, operator] = started.map(({ broker }) => broker) as [ServiceBroker, ServiceBroker];
});

beforeEach(async () => {
  user = await create();
});

afterAll(async () => {
  await nodes.stop();
  await redis.stop();
});

const create = (): Promise<User> => call(users, "users.create", newUser());
const read = (id: string): Promise<User> => call(users, "users.get", { id });

/** Changes the row past the services, of which no cache hears. */
const changeRow = (id: string): Promise<unknown> =>
  nodes.sql("UPDATE users.users SET nickname = 'past the services' WHERE id = $1", [id]);

/**
 * A user whose row says something else than the caches. On a machine that is busy a node does for moments without its
 * memory, or without Redis.
 */
const cachedUser = (): Promise<string> =>
  waitFor(
    async () => {
      const { id } = await create();
      await changeRow(id);
      return (await read(id)).nickname === null ? id : "";
    },
    { description: "a cache that answers" },
  );

const untilFresh = (id: string): Promise<unknown> =>
  waitFor(async () => (await read(id)).nickname === "past the services", {
    description: "the entry to be gone",
  });

describe("a purge", () => {
  test("of one user drops it from every cache, and others not", async () => {
    const isOtherKept = async (): Promise<boolean> => {
      const [one, other] = [await cachedUser(), await cachedUser()];
      await expect(
        call(operator, "cache.purge", { namespace: "users.get", id: one.toUpperCase() }),
      ).resolves.toEqual({ namespaces: ["users.get"] });
      await untilFresh(one);
      return (await read(other)).nickname === null;
    };
    await waitFor(isOtherKept, { description: "a purge that leaves the other user" });
  });

  test.each([{ namespace: "users.get" }, {}])("of %j drops everything in it", async (params) => {
    const id = await cachedUser();
    const { namespaces } = await call(operator, "cache.purge", params);
    expect(namespaces).toContain("users.get");
    await untilFresh(id);
  });

  test("of what is no namespace is refused", async () => {
    await expect(call(operator, "cache.purge", { namespace: "users.list" })).rejects.toMatchObject({
      type: "VALIDATION_FAILED",
      data: { errors: [{ field: "namespace" }] },
    });
  });
});

describe("the statistics", () => {
  test("are those of all nodes, by level and namespace", async () => {
    const levelOf = async (level: string) => {
      const stats = await call(operator, "cache.stats", {});
      expect(stats.nodes).toBe(3);
      return stats.levels.find((one) => one.level === level && one.namespace === "users.get");
    };
    const countHits = async (): Promise<number> => {
      const before = await levelOf("memory");
      for (let count = 0; count < 5; count += 1) await read(user.id);
      const after = await levelOf("memory");
      return (after?.hits ?? 0) - (before?.hits ?? 0);
    };
    // A node that has heard for too long of no change, on a busy machine, does not use its memory.
    await waitFor(async () => (await countHits()) === 5, { description: "five answers from memory" });
    const memory = await levelOf("memory");
    expect(memory?.entries).toBeGreaterThan(0);
    expect(memory?.bytes).toBeGreaterThan(0);
    await read(randomUUID()).catch(() => undefined);
    await expect(levelOf("redis")).resolves.toMatchObject({ misses: expect.any(Number), entries: null });
    const { levels } = await call(operator, "cache.stats", {});
    const whole = levels.find(({ level, namespace }) => level === "redis" && namespace === "*");
    expect(whole?.entries).toBeGreaterThan(0);
  });
});

describe("warming", () => {
  test("puts the users that were read last into Redis again, after it was lost", async () => {
    const ids = [user.id, ...(await Promise.all([1, 2].map(create))).map(({ id }) => id)];
    await redis.restart();
    // The node that has the users may find it again later than others.
    const areWarm = async (): Promise<boolean> => {
      for (const id of ids) await read(id);
      const warmed = await call(operator, "cache.warm", { limit: 3 });
      expect(warmed).toEqual({ users: 3 });
      return ((await sizeOfRedis()) ?? 0) >= 3;
    };
    await waitFor(areWarm, { description: "the users to be in Redis" });
  });

  test("may take longer than other calls", async () => {
    await read(user.id);
    const impatient = await nodes.start({
      SERVICES: "cache",
      REDIS_URL: redis.url,
      REQUEST_TIMEOUT_MS: "500",
      DATABASE_STATEMENT_TIMEOUT_MS: "400",
    });
    const locked = await nodes.openTransaction(["LOCK TABLE users.users"]);
    await expect(call(impatient.broker, "cache.warm", { limit: 1 })).resolves.toEqual({ users: 0 });
    await locked.rollback();
    await impatient.stop();
    await read(user.id);
    await expect(call(operator, "cache.warm", { limit: 1 })).resolves.toEqual({ users: 1 });
  });

  const sizeOfRedis = async (): Promise<number | null | undefined> => {
    const { levels } = await call(operator, "cache.stats", {});
    return levels.find(({ level, namespace }) => level === "redis" && namespace === "*")?.entries;
  };
});

describe("a node that died before any cache heard of its change", () => {
  /** What such a node leaves: a row, and its event in the outbox. */
  const changeUnheard = async (id: string): Promise<void> => {
    await nodes.sql("UPDATE users.users SET version = 2 WHERE id = $1", [id]);
    await nodes.sql(
      `INSERT INTO events.outbox (id, type, subject, data, changed_fields, actor, request_id, occurred_at)
       VALUES (gen_random_uuid(), 'user-updated_v1', $1, $2, '{nickname}', 'anonymous', 'none', now())`,
      [id, { id, version: 2 }],
    );
  };

  const untilDropped = (id: string): Promise<unknown> =>
    waitFor(async () => (await read(id)).version === 2, {
      description: "the cache to be compared with the log",
    });

  test("has left an entry that is dropped when the log has the event", async () => {
    const id = await cachedUser();
    await changeUnheard(id);
    await untilDropped(id);
    await expect(read(id)).resolves.toMatchObject({ version: 2 });
  });

  test("has left one that is dropped also after the log was restored from a backup, and is shorter", async () => {
    const id = await cachedUser();
    await untilAllPublished(nodes);
    await nodes.sql("TRUNCATE events.log");
    await nodes.sql("UPDATE events.relay SET head = 0, published = 0");
    await changeUnheard(id);
    await untilDropped(id);
    await expect(read(id)).resolves.toMatchObject({ version: 2 });
  });
});
