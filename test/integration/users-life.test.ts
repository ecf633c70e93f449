import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { untilAllPublished } from "../support/outbox-rows.ts";
import { ask, withKey } from "../support/requests.ts";
import { newUser } from "../support/rest-client.ts";
import { appendToLog, expireLog } from "../support/event-log.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";

const NOT_FOUND = { type: "USER_NOT_FOUND", code: 404 };

let nodes: TestNodes;
/** Its calls go over NATS. */
let caller: ServiceBroker;

beforeAll(async () => {
  nodes = await startTestNodes();
  await nodes.start({ SERVICES: "users", NODE_ID: "users" });
  await nodes.start({ SERVICES: "events", NODE_ID: "events" });
  ({ broker: caller } = await nodes.start({ SERVICES: "none", NODE_ID: "caller" }));
});

afterAll(() => nodes.stop());

/** A user and the changes that it has had, as versions of it. */
async function userWithChanges(count: number): Promise<string> {
  const { id } = await call(caller, "users.create", newUser());
  for (let change = 1; change <= count; change += 1) {
    await call(caller, "users.update", { id, nickname: `nick-${change}` });
  }
  return id;
}

async function typesOf(id: string): Promise<string[]> {
  await untilAllPublished(nodes);
  const { data } = await call(caller, "events.list", { subject: id });
  return data.map(({ type }) => type);
}

describe("a suspended user", () => {
  test("says so, and is found by it", async () => {
    const created = await call(caller, "users.create", newUser());
    const suspended = await call(caller, "users.suspend", { id: created.id });

    expect(suspended).toMatchObject({
      ...created,
      status: "suspended",
      version: 2,
      updatedAt: expect.any(String),
    });
    expect(await call(caller, "users.get", { id: created.id })).toEqual(suspended);
    const { data } = await call(caller, "users.list", { status: "suspended", email: created.email });
    expect(data).toEqual([suspended]);
  });

  test("is one when it is suspended again, without a change", async () => {
    const { id } = await call(caller, "users.create", newUser());
    const suspended = await call(caller, "users.suspend", { id });
    expect(await call(caller, "users.suspend", { id })).toEqual(suspended);
    expect(await typesOf(id)).toEqual(["user-created_v1", "user-suspended_v1"]);
  });

  test("is active again after the suspension, and each step has its event", async () => {
    const { id } = await call(caller, "users.create", newUser());
    await call(caller, "users.suspend", { id });
    expect(await call(caller, "users.unsuspend", { id })).toMatchObject({ status: "active", version: 3 });
    expect(await call(caller, "users.unsuspend", { id })).toMatchObject({ status: "active", version: 3 });
    expect(await typesOf(id)).toEqual(["user-created_v1", "user-suspended_v1", "user-unsuspended_v1"]);
  });

  test("is still suspended when it was deleted and restored", async () => {
    const { id } = await call(caller, "users.create", newUser());
    await call(caller, "users.suspend", { id });
    await call(caller, "users.delete", { id });
    await expect(call(caller, "users.unsuspend", { id })).rejects.toMatchObject(NOT_FOUND);
    expect(await call(caller, "users.restore", { id })).toMatchObject({ status: "suspended" });
  });

  test("is suspended once by a request that is sent twice", async () => {
    const { id } = await call(caller, "users.create", newUser());
    const key = withKey(randomUUID());
    const first = await ask(caller, "users.suspend", { id }, key);
    await call(caller, "users.unsuspend", { id });
    expect(await ask(caller, "users.suspend", { id }, key)).toEqual({ ...first, isReplay: true });
    expect(await call(caller, "users.get", { id })).toMatchObject({ status: "active" });
  });
});

describe("the history of a user", () => {
  test("says who changed what when", async () => {
    const ada = { kind: "user", id: randomUUID(), role: "admin" } as const;
    const user = await call(caller, "users.create", newUser(), { requestID: "first" });
    const options = { requestID: "second", meta: { principal: ada } };
    const changed = await call(caller, "users.update", { id: user.id, nickname: "x", bio: "y" }, options);
    await untilAllPublished(nodes);

    expect(await call(caller, "users.history", { id: user.id })).toEqual({
      data: [
        {
          time: user.createdAt,
          type: "user-created_v1",
          actor: expect.stringMatching(/^service:/),
          changedFields: expect.arrayContaining(["email", "firstName"]),
          version: 1,
          requestId: "first",
        },
        {
          time: changed.updatedAt,
          type: "user-updated_v1",
          actor: `user:${ada.id}`,
          changedFields: ["nickname", "bio"],
          version: 2,
          requestId: "second",
        },
      ],
      nextCursor: null,
    });
  });

  test.each([1, 2, 3, 100])("is read to its end in pages of %i", async (limit) => {
    const id = await userWithChanges(5);
    await userWithChanges(1);
    await untilAllPublished(nodes);

    const versions: (number | null)[] = [];
    let cursor: string | null | undefined;
    let pages = 0;
    do {
      const page = await call(caller, "users.history", { id, limit, ...(cursor && { cursor }) });
      versions.push(...page.data.map(({ version }) => version));
      cursor = page.nextCursor;
      pages += 1;
    } while (cursor !== null);
    expect(versions).toEqual([1, 2, 3, 4, 5, 6]);
    expect(pages).toBe(Math.ceil(6 / limit));
  });

  test("is that of one user: a cursor is of no use for another", async () => {
    const [one, other] = await Promise.all([userWithChanges(1), userWithChanges(1)]);
    await untilAllPublished(nodes);
    const { nextCursor } = await call(caller, "users.history", { id: one, limit: 1 });
    const cursor = String(nextCursor);
    await expect(call(caller, "users.history", { id: other, limit: 1, cursor })).rejects.toMatchObject({
      type: "INVALID_CURSOR",
    });
  });

  test("of nobody is refused", async () => {
    await expect(call(caller, "users.history", { id: randomUUID() })).rejects.toMatchObject(NOT_FOUND);
  });

  test("is empty when its events are older than the log", async () => {
    const id = await userWithChanges(1);
    await untilAllPublished(nodes);
    const { lastSequence } = await call(caller, "events.list", { subject: id });
    await expireLog(nodes, lastSequence);
    await appendToLog(nodes, 1);
    expect(await call(caller, "users.history", { id })).toEqual({ data: [], nextCursor: null });
  });
});
