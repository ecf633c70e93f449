import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { untilAllPublished } from "../support/outbox-rows.ts";
import { startRedis } from "../support/redis.ts";
import { withKey } from "../support/requests.ts";
import { newUser } from "../support/rest-client.ts";
import type { TestServer } from "../support/server-process.ts";
import { messagesWith, redisKeysWith, streamFilesWith, tablesWith } from "../support/stored-text.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let redis: TestServer;
let users: ServiceBroker;
let events: ServiceBroker;

beforeAll(async () => {
  [nodes, redis] = await Promise.all([startTestNodes(), startRedis()]);
  const start = async (SERVICES: string): Promise<ServiceBroker> =>
    (await nodes.start({ SERVICES, NODE_ID: SERVICES, REDIS_URL: redis.url })).broker;
  [users, events] = await Promise.all([start("users"), start("events")]);
});

afterAll(async () => {
  await nodes.stop();
  await redis.stop();
});

/** A user with a life: it is in every place that keeps something about users. */
async function plantUser(): Promise<{ id: string; planted: string[] }> {
  const mark = randomUUID().slice(0, 8);
  const planted = [`ada-${mark}`, `Ada${mark}`, `Lovelace${mark}`, `Countess${mark}`, `Byron${mark}`];
  const [email, firstName, lastName, nickname, changedName] = planted;
  const { id } = await call(
    users,
    "users.create",
    newUser({ email: `${email}@example.com`, firstName, lastName, nickname, bio: `${lastName} wrote` }),
    withKey(randomUUID()),
  );
  await call(users, "users.update", { id, lastName: String(changedName) }, withKey(randomUUID()));
  await call(users, "users.suspend", { id });
  await call(users, "users.unsuspend", { id });
  await untilAllPublished(nodes);
  await call(users, "users.get", { id });
  return { id, planted };
}

describe("an erased user", () => {
  test("is nowhere any more but in the event that says so", async () => {
    const { id, planted } = await plantUser();
    const [email = "", firstName = "", , , changedName = ""] = planted;
    // Else the search below could not fail.
    expect(await tablesWith(nodes, email)).toEqual(
      expect.arrayContaining(["users.users", "events.idempotency", "events.log"]),
    );
    await waitFor(async () => (await redisKeysWith(redis.url, changedName)).length === 1, {
      description: "the user to be in Redis",
    });
    expect((await messagesWith(nodes, firstName)).length).toBeGreaterThanOrEqual(4);

    // NATS writes them a moment after it has confirmed them.
    await waitFor(async () => (await streamFilesWith(nodes, firstName)).length > 0, {
      description: "the user to be in the files of the stream",
    });

    await call(users, "users.erase", { id });
    await untilAllPublished(nodes);

    for (const text of planted) {
      expect([
        text,
        await tablesWith(nodes, text),
        await redisKeysWith(redis.url, text),
        await messagesWith(nodes, text),
      ]).toEqual([text, [], [], []]);
    }
    expect(await messagesWith(nodes, id)).toEqual([`events.user-erased_v1.${id}`]);
    for (const text of planted)
      await waitFor(async () => (await streamFilesWith(nodes, text)).length === 0, {
        description: `${text} to be in no file of the stream`,
      });
  });

  test("has events that say what was done to it, without the data", async () => {
    const { id } = await plantUser();
    await call(users, "users.erase", { id });
    await untilAllPublished(nodes);

    const { data } = await call(events, "events.list", { subject: id });
    expect(data.map(({ type, data: of }) => [type, of])).toEqual([
      ["user-created_v1", { id, version: 1 }],
      ["user-updated_v1", { id, version: 2 }],
      ["user-suspended_v1", { id, version: 3 }],
      ["user-unsuspended_v1", { id, version: 4 }],
      ["user-erased_v1", { id, version: 5 }],
    ]);
    const history = await call(users, "users.history", { id });
    expect(history.data.map(({ type, changedFields }) => [type, changedFields])).toEqual([
      ["user-created_v1", ["email", "firstName", "lastName", "nickname", "country", "bio"]],
      ["user-updated_v1", ["lastName"]],
      ["user-suspended_v1", ["status"]],
      ["user-unsuspended_v1", ["status"]],
      ["user-erased_v1", []],
    ]);
  });

  test("is erased from the outbox too, where events wait for a relay", async () => {
    const own = await startTestNodes();
    try {
      const { broker } = await own.start({ SERVICES: "users" });
      const { id } = await call(broker, "users.create", newUser({ firstName: "Outbox" }));
      expect(await tablesWith(own, "Outbox")).toContain("events.outbox");
      await call(broker, "users.erase", { id });
      expect(await tablesWith(own, "Outbox")).toEqual([]);
      await own.start({ SERVICES: "events" });
      await untilAllPublished(own);
      expect(await messagesWith(own, "Outbox")).toEqual([]);
    } finally {
      await own.stop();
    }
  });

  test("is erased also where the relay is just moving its events", async () => {
    const lock = await nodes.openTransaction(["SELECT FROM events.relay FOR UPDATE"]);
    const { id } = await call(users, "users.create", newUser({ firstName: "Moving" }));
    await nodes.untilBlocked(1);
    const erased = call(users, "users.erase", { id });
    await nodes.untilBlocked(2);
    await lock.rollback();
    await erased;
    expect(await tablesWith(nodes, "Moving")).toEqual([]);
    await untilAllPublished(nodes);
    expect(await messagesWith(nodes, "Moving")).toEqual([]);
  });

  test("takes no other user along", async () => {
    const [one, other] = await Promise.all([plantUser(), plantUser()]);
    await call(users, "users.erase", { id: one.id });
    await untilAllPublished(nodes);

    const { data } = await call(events, "events.list", { subject: other.id });
    expect(data.filter(({ data: of }) => !("email" in of))).toEqual([]);
    expect(await messagesWith(nodes, other.id)).toHaveLength(4);
    expect(await call(users, "users.get", { id: other.id })).toMatchObject({ version: 4 });
  });

  test("is erased from the stream also when NATS was away meanwhile", async () => {
    const { id, planted } = await plantUser();
    const [email = ""] = planted;
    await nodes.nats.kill();
    const erased = call(users, "users.erase", { id });
    await nodes.nats.restart();
    await erased;
    await untilAllPublished(nodes);
    expect(await messagesWith(nodes, email)).toEqual([]);
    expect(await messagesWith(nodes, id)).toEqual([`events.user-erased_v1.${id}`]);
  });
});
