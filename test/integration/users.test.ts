import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { newUser } from "../support/rest-client.ts";
import { storedEvents, storedUsers } from "../support/stored-rows.ts";
import { startTestNodes, startUsersPair, type TestNodes } from "../support/test-nodes.ts";

const NOT_FOUND = { type: "USER_NOT_FOUND", code: 404, retryable: false };
const STALE = { type: "PRECONDITION_FAILED", code: 412, retryable: false };
const TAKEN = { type: "EMAIL_TAKEN", code: 409, retryable: false };

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

let nodes: TestNodes;
let a: ServiceBroker;
let b: ServiceBroker;
/** Its calls go over NATS to one of the two. */
let caller: ServiceBroker;

beforeAll(async () => {
  nodes = await startTestNodes();
  ({ a, b, caller } = await startUsersPair(nodes));
});

afterAll(() => nodes.stop());

describe("a created user", () => {
  test("is what was asked for, with an id in order of time, and is read the same on both nodes", async () => {
    const params = newUser({ nickname: "Ada", country: "GB", bio: "Wrote the first\nprogram. 💻" });

    const user = await call(caller, "users.create", params);

    expect(user).toEqual({
      ...params,
      id: expect.stringMatching(UUID_V7),
      imageUrls: [],
      avatarUrl: null,
      role: "user",
      status: "active",
      version: 1,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      updatedAt: user.createdAt,
    });
    expect(await call(a, "users.get", { id: user.id })).toEqual(user);
    expect(await call(b, "users.get", { id: user.id })).toEqual(user);
  });

  test("needs only an address, a first and a last name", async () => {
    expect(await call(caller, "users.create", newUser())).toMatchObject({
      nickname: null,
      country: null,
      bio: null,
    });
  });

  test("keeps names in any script, without the blanks around them", async () => {
    const user = await call(
      caller,
      "users.create",
      newUser({ firstName: "  Zoë 明子 ", lastName: "O’Connor-Müller" }),
    );

    expect(user).toMatchObject({ firstName: "Zoë 明子", lastName: "O’Connor-Müller" });
    expect(await call(caller, "users.get", { id: user.id })).toEqual(user);
  });

  test.each([
    ["email", { email: "nobody" }],
    ["firstName", { firstName: "  " }],
    ["lastName", { lastName: "x".repeat(101) }],
    ["lastName", { lastName: "bell\u0007" }],
    ["nickname", { nickname: "\u0000" }],
    ["bio", { bio: "lone \ud800 surrogate" }],
    ["country", { country: "XX" }],
    ["country", { country: "gb" }],
    ["role", { role: "admin" }],
    ["id", { id: randomUUID() }],
  ])("is refused for a wrong %s: %j", async (field, wrong) => {
    const params = newUser(wrong);

    await expect(call(caller, "users.create", params)).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      retryable: false,
      data: [{ field }],
    });
    expect(await storedUsers(nodes, params.email)).toEqual([]);
  });
});

describe("reading a user", () => {
  test("by an id that nobody has, or of a deleted user, finds nothing", async () => {
    const { id } = await call(caller, "users.create", newUser());
    await call(caller, "users.delete", { id });

    await expect(call(caller, "users.get", { id: randomUUID() })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(caller, "users.get", { id })).rejects.toMatchObject(NOT_FOUND);
  });

  test("by id is the same in capitals, before and after a change", async () => {
    const user = await call(caller, "users.create", newUser());
    const capitals = user.id.toUpperCase();

    expect(await call(a, "users.get", { id: capitals })).toEqual(user);
    expect(await call(a, "users.get", { id: user.id })).toEqual(user);
    await call(a, "users.update", { id: user.id, lastName: "Byron" });
    expect(await call(a, "users.get", { id: capitals })).toMatchObject({ id: user.id, lastName: "Byron" });
    expect(await call(a, "users.get", { id: user.id })).toMatchObject({ lastName: "Byron", version: 2 });
    await call(a, "users.update", { id: capitals, lastName: "King" });
    expect(await call(a, "users.get", { id: user.id })).toMatchObject({ lastName: "King", version: 3 });
  });

  test("by address works in any letter case, and only for users that are not deleted", async () => {
    const user = await call(caller, "users.create", newUser());

    expect(await call(caller, "users.getByEmail", { email: user.email })).toEqual(user);
    expect(await call(caller, "users.getByEmail", { email: ` ${user.email.toUpperCase()}` })).toEqual(user);
    await call(caller, "users.delete", { id: user.id });
    await expect(call(caller, "users.getByEmail", { email: user.email })).rejects.toMatchObject(NOT_FOUND);
  });

  test("many at once gives each caller its own", async () => {
    const users = await Promise.all(
      Array.from({ length: 30 }, () => call(caller, "users.create", newUser())),
    );

    const found = await Promise.all(users.map(({ id }) => call(a, "users.get", { id })));

    expect(found).toEqual(users);
  });
});

describe("a change", () => {
  test("by update sets what is given, clears what is null and keeps the rest", async () => {
    const params = newUser({ nickname: "Ada", country: "GB", bio: "Poet's daughter" });
    const user = await call(caller, "users.create", params);

    const changed = await call(caller, "users.update", { id: user.id, lastName: "King", bio: null });

    expect(changed).toEqual({
      ...user,
      lastName: "King",
      bio: null,
      version: 2,
      updatedAt: expect.any(String),
    });
    expect(Date.parse(changed.updatedAt)).toBeGreaterThanOrEqual(Date.parse(user.updatedAt));
    expect(await call(caller, "users.get", { id: user.id })).toEqual(changed);
  });

  test("by replace clears what is not given", async () => {
    const user = await call(caller, "users.create", newUser({ nickname: "Ada", country: "GB", bio: "…" }));
    const { id, email } = user;

    const replaced = await call(caller, "users.replace", {
      id,
      email,
      firstName: "Augusta",
      lastName: "King",
    });

    expect(replaced).toMatchObject({ firstName: "Augusta", lastName: "King", version: 2 });
    expect(replaced).toMatchObject({ nickname: null, country: null, bio: null, createdAt: user.createdAt });
  });

  test.each(["users.update", "users.suspend", "users.delete", "users.restore", "users.erase"] as const)(
    "by %s happens only to an expected version",
    async (action) => {
      const { id } = await call(caller, "users.create", newUser());
      await call(caller, "users.update", { id, lastName: "King" });
      if (action === "users.restore") await call(caller, "users.delete", { id });
      const version = (await storedEvents(nodes, id)).length;

      await expect(call(caller, action, { id, expectedVersions: [1, 7] })).rejects.toMatchObject(STALE);
      expect(await storedEvents(nodes, id)).toHaveLength(version);

      await call(caller, action, { id, expectedVersions: [1, version] });
      expect(await storedEvents(nodes, id)).toHaveLength(action === "users.update" ? version : version + 1);
    },
  );

  test("of twenty that expect the same version happens once", async () => {
    const { id } = await call(caller, "users.create", newUser());
    const params = (number: number) => ({ id, nickname: `nick-${number}`, expectedVersions: [1] });

    const changes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, number) => call(caller, "users.update", params(number))),
    );

    const won = changes.filter(({ status }) => status === "fulfilled");
    const lost = changes.filter(({ status }) => status === "rejected");
    expect(won).toMatchObject([{ value: { version: 2 } }]);
    expect(lost).toEqual(Array(19).fill(expect.objectContaining({ reason: expect.objectContaining(STALE) })));
  });

  test("is refused for a user that does not exist", async () => {
    const id = randomUUID();
    await expect(call(caller, "users.update", { id, lastName: "King" })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(caller, "users.replace", { id, ...newUser() })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(caller, "users.suspend", { id })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(caller, "users.unsuspend", { id })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(caller, "users.delete", { id })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(caller, "users.restore", { id })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(caller, "users.erase", { id })).rejects.toMatchObject(NOT_FOUND);
  });
});

describe("an email address", () => {
  test("is stored in small letters and composed form", async () => {
    const name = randomUUID();
    const { email } = await call(
      caller,
      "users.create",
      newUser({ email: ` A\u0308DA-${name}@EXAMPLE.com ` }),
    );

    expect(email).toBe(`äda-${name}@example.com`);
  });

  test("belongs to one user, in whatever letter case it is given", async () => {
    const { id, email } = await call(caller, "users.create", newUser());
    const other = await call(caller, "users.create", newUser());
    const capitals = email.toUpperCase();

    await expect(call(caller, "users.create", newUser({ email: capitals }))).rejects.toMatchObject(TAKEN);
    await expect(call(caller, "users.update", { id: other.id, email: capitals })).rejects.toMatchObject(
      TAKEN,
    );
    await expect(
      call(caller, "users.replace", { ...newUser({ email: capitals }), id: other.id }),
    ).rejects.toMatchObject(TAKEN);
    expect(await storedUsers(nodes, email)).toMatchObject([{ id, version: 1 }]);
  });

  test("is given to one of twenty who ask for it at once", async () => {
    const { email } = newUser();
    const spelling = (number: number): string => (number % 2 === 0 ? email : email.toUpperCase());

    const created = await Promise.allSettled(
      Array.from({ length: 20 }, (_, number) =>
        call(caller, "users.create", newUser({ email: spelling(number) })),
      ),
    );

    expect(created.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const lost = created.filter(({ status }) => status === "rejected");
    expect(lost).toEqual(Array(19).fill(expect.objectContaining({ reason: expect.objectContaining(TAKEN) })));
    expect(await storedUsers(nodes, email)).toHaveLength(1);
  });

  test("can be exchanged between two users at the same time without an error of the server", async () => {
    const [one, two] = await Promise.all([
      call(caller, "users.create", newUser()),
      call(caller, "users.create", newUser()),
    ]);

    const exchange = await Promise.allSettled([
      call(caller, "users.update", { id: one.id, email: two.email }),
      call(caller, "users.update", { id: two.id, email: one.email }),
    ]);

    // Each change by itself takes an address that is in use.
    expect(exchange).toEqual(
      Array(2).fill(expect.objectContaining({ reason: expect.objectContaining(TAKEN) })),
    );
  });
});

describe("a deleted user", () => {
  test("is restored with everything it had", async () => {
    const user = await call(caller, "users.create", newUser({ nickname: "Ada", country: "GB" }));
    await call(caller, "users.delete", { id: user.id });

    const restored = await call(caller, "users.restore", { id: user.id });

    expect(restored).toEqual({ ...user, version: 3, updatedAt: restored.updatedAt });
    expect(await call(caller, "users.get", { id: user.id })).toEqual(restored);
    expect((await storedEvents(nodes, user.id)).map(({ type, data }) => [type, data["status"]])).toEqual([
      ["user-created_v1", "active"],
      ["user-deleted_v1", "deleted"],
      ["user-restored_v1", "active"],
    ]);
  });

  test("cannot be changed or deleted again, but restored only once", async () => {
    const { id } = await call(caller, "users.create", newUser());
    await call(caller, "users.delete", { id });

    await expect(call(caller, "users.delete", { id })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(caller, "users.update", { id, lastName: "King" })).rejects.toMatchObject(NOT_FOUND);
    await call(caller, "users.restore", { id });
    await expect(call(caller, "users.restore", { id })).rejects.toMatchObject({ type: "USER_NOT_DELETED" });
  });

  test("leaves its address to others, and then cannot be restored until it is free again", async () => {
    const { id, email } = await call(caller, "users.create", newUser());
    await call(caller, "users.delete", { id });
    const successor = await call(caller, "users.create", newUser({ email }));

    await expect(call(caller, "users.restore", { id })).rejects.toMatchObject(TAKEN);
    await call(caller, "users.delete", { id: successor.id });
    expect(await call(caller, "users.restore", { id })).toMatchObject({ email, version: 3 });
  });

  test.each([
    ["is restored a moment before 30 days are over", "30 days - 1 minute", true],
    ["is not restored after 30 days", "30 days 1 second", false],
  ])("%s", async (_, age, isRestorable) => {
    const { id } = await call(caller, "users.create", newUser());
    await call(caller, "users.delete", { id });
    await nodes.sql("UPDATE users.users SET deleted_at = now() - $2::interval WHERE id = $1", [id, age]);

    const restored = await call(caller, "users.restore", { id }).then(
      ({ status }) => status,
      ({ type }: { type: string }) => type,
    );

    expect(restored).toBe(isRestorable ? "active" : "RESTORE_WINDOW_CLOSED");
  });
});

describe("an erased user", () => {
  test.each([
    ["that was there", false],
    ["that was deleted", true],
  ])("%s is gone for good, and its event holds no personal data", async (_, isDeleted) => {
    const user = await call(caller, "users.create", newUser());
    if (isDeleted) await call(caller, "users.delete", { id: user.id });

    await call(caller, "users.erase", { id: user.id });

    expect(await storedUsers(nodes, user.email)).toEqual([]);
    await expect(call(caller, "users.get", { id: user.id })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(caller, "users.restore", { id: user.id })).rejects.toMatchObject(NOT_FOUND);
    expect((await storedEvents(nodes, user.id)).at(-1)).toMatchObject({
      type: "user-erased_v1",
      data: { id: user.id, version: isDeleted ? 3 : 2 },
    });
    expect(Object.keys((await storedEvents(nodes, user.id)).at(-1)?.data ?? {})).toEqual(["id", "version"]);
  });

  test("leaves its address to others", async () => {
    const { id, email } = await call(caller, "users.create", newUser());
    await call(caller, "users.erase", { id });

    expect(await call(caller, "users.create", newUser({ email }))).toMatchObject({ email, version: 1 });
  });
});
