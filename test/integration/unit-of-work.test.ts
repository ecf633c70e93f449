import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { loadConfig } from "../../lib/config.ts";
import { call } from "../../lib/contracts.ts";
import { Database } from "../../lib/database.ts";
import { expiredResults } from "../../services/events/retention.repository.ts";
import { exhaust } from "../../services/events/retention.ts";
import { refuseEventsOf, storedEvents } from "../support/stored-rows.ts";
import { ask, asService, withKey } from "../support/requests.ts";
import { newUser } from "../support/rest-client.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { startTestNodes, startUsersPair, type TestNodes } from "../support/test-nodes.ts";

let nodes: TestNodes;
/** Runs no service: whatever it calls goes over NATS to one of two users nodes. */
let caller: ServiceBroker;

beforeAll(async () => {
  nodes = await startTestNodes();
  ({ caller } = await startUsersPair(nodes));
});

afterAll(() => nodes.stop());

describe("the same request, sent twice", () => {
  test("is executed once, and the second answer is the first, byte for byte, on another node", async () => {
    const key = randomUUID();
    const params = newUser({ nickname: "Ängström\u2028☕", bio: "line\nline" });

    const first = await ask(caller, "users.create", params, withKey(key, { nodeID: "users-a" }));
    const second = await ask(caller, "users.create", params, withKey(key, { nodeID: "users-b" }));

    expect(first.isReplay).toBe(false);
    expect(second.isReplay).toBe(true);
    expect(JSON.stringify(second.result)).toBe(JSON.stringify(first.result));
    expect(await storedEvents(nodes, first.result.id)).toHaveLength(1);
  });

  test("is the same when its members come in another order", async () => {
    const key = randomUUID();
    const { email, firstName, lastName } = newUser();

    const first = await call(caller, "users.create", { email, firstName, lastName }, withKey(key));
    const second = await call(caller, "users.create", { lastName, firstName, email }, withKey(key));

    expect(second).toEqual(first);
  });

  test("replays a result that is null", async () => {
    const key = randomUUID();
    const { id } = await call(caller, "users.create", newUser());
    await call(caller, "users.delete", { id }, withKey(key));

    expect(await ask(caller, "users.delete", { id }, withKey(key))).toEqual({ result: null, isReplay: true });
    expect(await storedEvents(nodes, id)).toHaveLength(2);
  });

  test("replays the first result after the resource has changed again", async () => {
    const key = randomUUID();
    const { id } = await call(caller, "users.create", newUser());
    const first = await call(caller, "users.update", { id, lastName: "One" }, withKey(key));
    await call(caller, "users.update", { id, lastName: "Two" });

    expect(await call(caller, "users.update", { id, lastName: "One" }, withKey(key))).toEqual(first);
    expect(await call(caller, "users.get", { id })).toMatchObject({ lastName: "Two", version: 3 });
  });

  test("is refused with other parameters, and changes nothing", async () => {
    const key = randomUUID();
    const params = newUser();
    const { id } = await call(caller, "users.create", params, withKey(key));

    await expect(
      call(caller, "users.create", { ...params, lastName: "Byron" }, withKey(key)),
    ).rejects.toMatchObject({ type: "IDEMPOTENCY_KEY_REUSED", code: 422, retryable: false });
    expect(await storedEvents(nodes)).not.toContainEqual(
      expect.objectContaining({ data: expect.objectContaining({ email: params.email, lastName: "Byron" }) }),
    );
    expect(await call(caller, "users.get", { id })).toMatchObject({ lastName: "Lovelace", version: 1 });
  });

  test("is refused while the first is still running, and replayed once it is done", async () => {
    const key = randomUUID();
    const { id } = await call(caller, "users.create", newUser());
    const holder = await nodes.openTransaction(["SELECT FROM users.users WHERE id = $1 FOR UPDATE", [id]]);
    const params = { id, lastName: "Byron" };

    const first = call(caller, "users.update", params, withKey(key, { nodeID: "users-a" }));
    await nodes.untilBlocked(1);
    await expect(
      call(caller, "users.update", params, withKey(key, { nodeID: "users-b", retries: 0 })),
    ).rejects.toMatchObject({ type: "IDEMPOTENCY_IN_FLIGHT", code: 409, retryable: true });
    await holder.commit();

    expect(await first).toMatchObject({ lastName: "Byron", version: 2 });
    expect(await ask(caller, "users.update", params, withKey(key))).toEqual({
      result: await first,
      isReplay: true,
    });
  });

  test("is executed once when it is sent twenty times at once", async () => {
    const key = randomUUID();
    const params = newUser();

    const answers = await Promise.allSettled(
      Array.from({ length: 20 }, () => ask(caller, "users.create", params, withKey(key))),
    );

    const { id } = await call(caller, "users.getByEmail", { email: params.email });
    expect(await storedEvents(nodes, id)).toHaveLength(1);
    const executed = answers.filter((answer) => answer.status === "fulfilled" && !answer.value.isReplay);
    const others = answers.filter((answer) => !executed.includes(answer));
    expect(executed).toHaveLength(1);
    for (const other of others) {
      expect(other).toMatchObject(
        other.status === "fulfilled"
          ? { value: { result: { id }, isReplay: true } }
          : { reason: { type: "IDEMPOTENCY_IN_FLIGHT" } },
      );
    }
  });

  test("is executed again after the first attempt has failed", async () => {
    const key = randomUUID();
    const taken = await call(caller, "users.create", newUser());
    const params = newUser({ email: taken.email });
    await expect(call(caller, "users.create", params, withKey(key))).rejects.toMatchObject({
      type: "EMAIL_TAKEN",
    });
    await call(caller, "users.delete", { id: taken.id });

    expect(await ask(caller, "users.create", params, withKey(key))).toMatchObject({ isReplay: false });
  });
});

describe("an idempotency key", () => {
  test("is forgotten when its time is over", async () => {
    const key = randomUUID();
    const first = await call(caller, "users.create", newUser(), withKey(key));
    await nodes.sql("UPDATE events.idempotency SET expires_at = now() WHERE key = $1", [key]);

    const again = await ask(caller, "users.create", newUser(), withKey(key));

    expect(again.isReplay).toBe(false);
    expect(again.result.id).not.toBe(first.id);
    expect((await recordOf(key)).subject).toBe(again.result.id);
  });

  test("is deleted when its time is over, however many there are, and not before", async () => {
    const key = randomUUID();
    await call(caller, "users.create", newUser(), withKey(key));
    await nodes.sql(
      `INSERT INTO events.idempotency (principal, action, key, fingerprint, result, subject, expires_at)
       SELECT 'service:rollcall', 'users.create', 'old-' || n, '', '{}', gen_random_uuid(), now() FROM generate_series(1, 2500) AS n`,
    );
    const config = loadConfig({ DATABASE_URL: nodes.databaseUrl });
    const database = new Database({ ...config, DATABASE_URL: nodes.databaseUrl }, silentLogger);

    await exhaust(expiredResults, database);
    await database.close();

    expect(await nodes.sql("SELECT FROM events.idempotency WHERE key LIKE 'old-%'")).toEqual([]);
    expect((await recordOf(key)).expiresAt.getTime()).toBeGreaterThan(Date.now());
  });

  test("is kept for as long as is configured", async () => {
    const node = await nodes.start({ SERVICES: "users", IDEMPOTENCY_TTL_HOURS: "3" });
    const key = randomUUID();

    const { createdAt } = await call(node.broker, "users.create", newUser(), withKey(key));
    await node.stop();

    expect((await recordOf(key)).expiresAt.getTime() - Date.parse(createdAt)).toBe(3 * 3_600_000);
  });

  test("is a key of one principal: another may use the same", async () => {
    const key = randomUUID();
    const params = newUser();
    await call(caller, "users.create", params, withKey(key, asService("alice")));

    const { isReplay, result } = await ask(caller, "users.create", newUser(), withKey(key, asService("bob")));

    expect(isReplay).toBe(false);
    expect(result.email).not.toBe(params.email);
  });

  test("is a key of one action: another may use the same", async () => {
    const key = randomUUID();
    const { id } = await call(caller, "users.create", newUser(), withKey(key));
    await call(caller, "users.delete", { id }, withKey(key));
    await call(caller, "users.restore", { id }, withKey(key));

    expect((await storedEvents(nodes, id)).map(({ type }) => type)).toEqual([
      "user-created_v1",
      "user-deleted_v1",
      "user-restored_v1",
    ]);
  });

  test.each([
    ["parts that would run together", ["a", "users.create", "b"], ["a:users.create", "users.create", "b"]],
    ["quotes", ['"', "users.create", '","'], ['","', "users.create", '"']],
  ] as const)("is not confused with another one by %s", async (_, [actorA, , keyA], [actorB, , keyB]) => {
    const suffix = randomUUID();
    const [first, second] = await Promise.all([
      ask(caller, "users.create", newUser(), withKey(`${keyA}${suffix}`, asService(actorA))),
      ask(caller, "users.create", newUser(), withKey(`${keyB}${suffix}`, asService(actorB))),
    ]);

    expect([first.isReplay, second.isReplay]).toEqual([false, false]);
  });
});

describe("the outbox", () => {
  test("has who changed what, when and in which request, with the whole resource", async () => {
    const { id } = await call(caller, "users.create", newUser());
    const options = { ...asService("alice"), requestID: "request-17" };

    const user = await call(caller, "users.update", { id, lastName: "Byron", country: "GB" }, options);

    const [, event] = await storedEvents(nodes, id);
    expect(event).toEqual({
      type: "user-updated_v1",
      subject: id,
      data: user,
      actor: "service:alice",
      requestId: "request-17",
      changedFields: expect.arrayContaining(["country", "lastName"]),
      occurredAt: new Date(user.updatedAt),
    });
    expect(event?.changedFields).toHaveLength(2);
  });

  test("names the fields of a new user that a client can set", async () => {
    const user = await call(caller, "users.create", newUser());

    const fields = ["email", "firstName", "lastName", "nickname", "country", "bio"];
    const [event] = await storedEvents(nodes, user.id);
    expect(event).toMatchObject({
      data: user,
      actor: "service:rollcall",
      occurredAt: new Date(user.createdAt),
    });
    expect(event?.changedFields.toSorted()).toEqual(fields.toSorted());
  });

  test("gets nothing for a change that changes nothing, and the version stays", async () => {
    const user = await call(caller, "users.create", newUser({ nickname: "ada", country: "GB" }));
    const { id, email, firstName, lastName, nickname, country } = user;
    const same = { id, email: ` ${email.toUpperCase()} `, firstName, lastName, nickname, country };

    expect(await call(caller, "users.update", { id, nickname: "ada" })).toEqual(user);
    expect(await call(caller, "users.update", { id })).toEqual(user);
    expect(await call(caller, "users.replace", same)).toEqual(user);

    expect(await call(caller, "users.get", { id })).toEqual(user);
    expect(await storedEvents(nodes, id)).toHaveLength(1);
  });

  test("gets nothing when the change fails, and neither row nor idempotency record is written", async () => {
    const key = randomUUID();
    const taken = await call(caller, "users.create", newUser());
    const { id } = await call(caller, "users.create", newUser());

    await expect(
      call(caller, "users.update", { id, email: taken.email, lastName: "Byron" }, withKey(key)),
    ).rejects.toMatchObject({ type: "EMAIL_TAKEN" });

    expect(await call(caller, "users.get", { id })).toMatchObject({ lastName: "Lovelace", version: 1 });
    expect(await storedEvents(nodes, id)).toHaveLength(1);
    expect(await nodes.sql("SELECT FROM events.idempotency WHERE key = $1", [key])).toEqual([]);
  });

  test("takes the row change back with it when the event cannot be written", async () => {
    await refuseEventsOf(nodes, "refused");
    const { id } = await call(caller, "users.create", newUser());

    await expect(
      call(caller, "users.update", { id, lastName: "Byron" }, { requestID: "refused" }),
    ).rejects.toMatchObject({ type: "INTERNAL_ERROR" });

    expect(await call(caller, "users.get", { id })).toMatchObject({ lastName: "Lovelace", version: 1 });
    expect(await storedEvents(nodes, id)).toHaveLength(1);
  });
});

describe("an erased user", () => {
  test("is in no result that is kept for replay", async () => {
    const keys = { create: randomUUID(), update: randomUUID() };
    const params = newUser();
    const { id } = await call(caller, "users.create", params, withKey(keys.create));
    await call(caller, "users.update", { id, lastName: "Byron" }, withKey(keys.update));

    await call(caller, "users.erase", { id });

    const kept = await nodes.sql("SELECT FROM events.idempotency WHERE result::text LIKE $1", [
      `%${params.email}%`,
    ]);
    expect(kept).toEqual([]);
    const again = await ask(caller, "users.create", params, withKey(keys.create));
    expect(again).toMatchObject({ isReplay: false, result: { version: 1 } });
    expect(again.result.id).not.toBe(id);
  });

  test("stays erased when the request to erase is sent again", async () => {
    const key = randomUUID();
    const { id } = await call(caller, "users.create", newUser());
    await call(caller, "users.erase", { id }, withKey(key));

    expect(await ask(caller, "users.erase", { id }, withKey(key))).toEqual({ result: null, isReplay: true });
    expect((await storedEvents(nodes, id)).map(({ type }) => type)).toEqual([
      "user-created_v1",
      "user-erased_v1",
    ]);
  });
});

function recordOf(key: string): Promise<{ subject: string; expiresAt: Date }> {
  return nodes.sqlOne('SELECT subject, expires_at AS "expiresAt" FROM events.idempotency WHERE key = $1', [
    key,
  ]);
}
