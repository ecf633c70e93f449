import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";

import { adminClient } from "../support/admin.ts";
import { createTestDatabase, type TestDatabase } from "../support/databases.ts";
import { PROCESS_PATIENCE } from "../support/patience.ts";
import { problemOf } from "../support/problems.ts";
import { newUser, RestClient, type RestResponse, type UserBody } from "../support/rest-client.ts";
import { startRollcall, untilLogged, type Rollcall } from "../support/rollcall-process.ts";
import { whileLocked } from "../support/row-locks.ts";

const USERS = "/api/v1/users";

let database: TestDatabase;
let sql: pg.Client;
let node: Rollcall;
let client: RestClient;
let user: UserBody;
let path: string;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = new pg.Client(database.url);
  await sql.connect();
  node = await startRollcall({ env: { DATABASE_URL: database.url, ...PROCESS_PATIENCE } });
  client = await adminClient(node.url);
});

beforeEach(async () => {
  user = await client.createUser();
  path = `${USERS}/${user.id}`;
});

afterAll(async () => {
  client.close();
  await node.stop();
  await sql.end();
  await database.drop();
});

describe("a user", () => {
  test("is created with 201 and is found where Location says", async () => {
    const response = await client.post(
      USERS,
      newUser({ email: " Grace@Example.com ", country: "US", bio: "Line 1\nLine 2" }),
    );

    expect(response.status).toBe(201);
    expect(response.headers).toMatchObject({ etag: '"1"', location: expect.stringMatching(`^${USERS}/`) });
    expect(response.json).toMatchObject({
      email: "grace@example.com",
      country: "US",
      bio: "Line 1\nLine 2",
      version: 1,
    });
    expect((await client.get(response.headers.location ?? "")).text).toBe(response.text);
  });

  test("cannot have the address of another one, in whatever letter case, until that one is deleted", async () => {
    const taken = newUser({ email: user.email.toUpperCase() });

    const refused = problemOf(await client.post(USERS, taken));
    expect(refused).toMatchObject({
      status: 409,
      code: "EMAIL_TAKEN",
      errors: [{ field: "email", rule: "unique" }],
    });

    await client.request("DELETE", path);
    expect((await client.post(USERS, taken)).status).toBe(201);
    expect(problemOf(await client.post(`${path}/restore`, undefined)).code).toBe("EMAIL_TAKEN");
  });

  test.each(["application/json", "application/merge-patch+json"])(
    "is changed in parts by PATCH with %s",
    async (type) => {
      await client.patch(path, { nickname: "Countess", country: "GB" });

      const response = await client.patch(
        path,
        { lastName: "King", nickname: null },
        { "content-type": type },
      );

      expect(response.status).toBe(200);
      expect(response.headers.etag).toBe('"3"');
      expect(response.json).toMatchObject({
        firstName: "Ada",
        lastName: "King",
        nickname: null,
        country: "GB",
        version: 3,
      });
    },
  );

  test("is not changed, and keeps its version, when a PATCH changes nothing", async () => {
    const response = await client.patch(path, { firstName: "Ada" });

    expect(response.status).toBe(200);
    expect(response.json).toEqual((await client.get(path)).json);
    expect(response.headers.etag).toBe('"1"');
  });

  test("is replaced as a whole by PUT: what is left out is null", async () => {
    await client.patch(path, { nickname: "Countess", country: "GB", bio: "…" });
    const { email } = user;

    const response = await client.request("PUT", path, {
      body: { email, firstName: "Ada", lastName: "King" },
    });

    expect(response.status).toBe(200);
    expect(response.json).toMatchObject({
      email,
      lastName: "King",
      nickname: null,
      country: null,
      bio: null,
      version: 3,
    });
  });

  test("that is deleted is not found, can be restored, and is then the same", async () => {
    expect((await client.request("DELETE", path)).status).toBe(204);
    expect(problemOf(await client.get(path))).toMatchObject({ status: 404, code: "USER_NOT_FOUND" });
    expect(problemOf(await client.request("DELETE", path)).code).toBe("USER_NOT_FOUND");

    const restored = await client.post(`${path}/restore`, undefined);
    expect(restored.status).toBe(200);
    expect(restored.json).toMatchObject({
      ...user,
      status: "active",
      version: 3,
      updatedAt: expect.any(String),
    });
    expect((await client.get(path)).text).toBe(restored.text);
    expect(problemOf(await client.post(`${path}/restore`, undefined))).toMatchObject({
      status: 409,
      code: "USER_NOT_DELETED",
    });
  });

  test("that was deleted more than 30 days ago can no longer be restored", async () => {
    await client.request("DELETE", path);
    await sql.query("UPDATE users.users SET deleted_at = now() - interval '30 days 1 minute' WHERE id = $1", [
      user.id,
    ]);

    const response = await client.post(`${path}/restore`, undefined);

    expect(problemOf(response)).toMatchObject({ status: 409, code: "RESTORE_WINDOW_CLOSED" });
  });

  test("that is erased is gone for good, deleted before or not", async () => {
    const deleted = await client.createUser();
    await client.request("DELETE", `${USERS}/${deleted.id}`);

    for (const { id } of [user, deleted]) {
      expect((await client.post(`${USERS}/${id}/erase`, undefined)).status).toBe(204);
      expect(problemOf(await client.post(`${USERS}/${id}/restore`, undefined)).code).toBe("USER_NOT_FOUND");
    }
  });
});

describe("If-Match", () => {
  const one = () => path;
  const WRITES: [string, string, () => string, object | undefined][] = [
    ["PATCH", "PATCH", one, { nickname: "x" }],
    ["PUT", "PUT", one, { email: "if-match@example.com", firstName: "Ada", lastName: "King" }],
    ["DELETE", "DELETE", one, undefined],
    ["erase", "POST", () => `${path}/erase`, undefined],
  ];

  test.each(WRITES)("with an old version keeps %s from being done", async (_, method, pathOf, body) => {
    const before = (await client.patch(path, { nickname: "newer" })).text;

    const response = await client.request(method, pathOf(), {
      headers: { "if-match": '"1"' },
      ...(body && { body }),
    });

    expect(problemOf(response)).toMatchObject({ status: 412, code: "PRECONDITION_FAILED" });
    expect((await client.get(path)).text).toBe(before);
  });

  test.each(WRITES)("with the current version lets %s be done", async (_, method, pathOf, body) => {
    const response = await client.request(method, pathOf(), {
      headers: { "if-match": '"1"' },
      ...(body && { body }),
    });

    expect(response.status).toBeLessThan(300);
  });

  test.each(['"1"', '"7", "1"', "*", '"1-xml"', '  "1"  '])("of %s matches version 1", async (ifMatch) => {
    expect((await client.patch(path, { nickname: "x" }, { "if-match": ifMatch })).status).toBe(200);
  });

  test.each(['"2"', 'W/"1"', '"2", W/"1"', "1", '"01"'])(
    "of %s does not match version 1",
    async (ifMatch) => {
      expect((await client.patch(path, { nickname: "x" }, { "if-match": ifMatch })).status).toBe(412);
    },
  );

  test("with 100 versions matches any of them", async () => {
    const tags = Array.from({ length: 100 }, (_, index) => `"${100 - index}"`).join(", ");

    expect((await client.patch(path, { nickname: "x" }, { "if-match": tags })).status).toBe(200);
  });

  test("lets only one of two writers change what both have read", async () => {
    const write = (nickname: string) => client.patch(path, { nickname }, { "if-match": '"1"' });

    const statuses = (await Promise.all([write("one"), write("two")])).map(({ status }) => status);

    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 412]);
  });
});

test("If-None-Match does not keep a write from being answered in full", async () => {
  const created = await client.post(USERS, newUser(), { "if-none-match": "*" });
  const changed = await client.patch(path, { nickname: "x" }, { "if-none-match": '"2"' });

  expect([created.status, changed.status]).toEqual([201, 200]);
  expect(changed.json).toMatchObject({ nickname: "x" });
});

describe("Idempotency-Key", () => {
  const withKey = (key: string = randomUUID()) => ({ "idempotency-key": key });

  test.each<[string, () => [method: string, path: string, body?: object]]>([
    ["a create", () => ["POST", USERS, newUser()]],
    ["a change", () => ["PATCH", path, { nickname: "x" }]],
    ["a replacement", () => ["PUT", path, newUser()]],
    ["a deletion", () => ["DELETE", path]],
    ["an erasure", () => ["POST", `${path}/erase`]],
  ])(
    "makes %s that is sent twice be done once, and the second answer the first, byte for byte",
    async (_, requestOf) => {
      const [method, target, body] = requestOf();
      const headers = withKey();
      const send = () => client.request(method, target, { headers, ...(body && { body }) });

      const first = await send();
      const second = await send();

      const replayed = ["content-type", "content-length", "etag", "location"] as const;
      const pick = (response: RestResponse) => replayed.map((name) => response.headers[name]);
      expect(first.status).toBeLessThan(300);
      expect(second.status).toBe(first.status);
      expect(second.bytes).toEqual(first.bytes);
      expect(pick(second)).toEqual(pick(first));
      expect(first.headers["idempotent-replayed"]).toBeUndefined();
      expect(second.headers["idempotent-replayed"]).toBe("true");
    },
  );

  test("replays the first answer when the user has changed since", async () => {
    const headers = withKey();
    const first = await client.patch(path, { nickname: "first" }, headers);
    await client.patch(path, { nickname: "second" });

    const replay = await client.patch(path, { nickname: "first" }, headers);

    expect(replay.text).toBe(first.text);
    expect((await client.get(path)).json).toMatchObject({ nickname: "second", version: 3 });
  });

  test("is the same request in another order of members and in another representation", async () => {
    const headers = withKey();
    const { email, firstName, lastName } = newUser();
    const first = await client.post(USERS, { email, firstName, lastName }, headers);

    const second = await client.post(
      USERS,
      { lastName, firstName, email },
      { ...headers, accept: "application/xml" },
    );

    expect(second.headers["idempotent-replayed"]).toBe("true");
    expect(second.text).toContain(`<id>${(first.json as UserBody).id}</id>`);
  });

  test.each<
    [string, () => Promise<RestResponse>, (headers: Record<string, string>) => Promise<RestResponse>]
  >([
    ["body", () => client.get(path), (headers) => client.patch(path, { nickname: "other" }, headers)],
    [
      "user",
      () => client.get(path),
      async (headers) =>
        client.patch(`${USERS}/${(await client.createUser()).id}`, { nickname: "x" }, headers),
    ],
    [
      "expected version",
      () => client.get(path),
      (headers) => client.patch(path, { nickname: "x" }, { ...headers, "if-match": '"1"' }),
    ],
  ])("with another %s is refused with 422, and nothing is done", async (_, read, sendOther) => {
    const headers = withKey();
    await client.patch(path, { nickname: "x" }, headers);
    const before = (await read()).text;

    const response = await sendOther(headers);

    expect(problemOf(response)).toMatchObject({
      status: 422,
      code: "IDEMPOTENCY_KEY_REUSED",
      retryable: false,
    });
    expect((await read()).text).toBe(before);
  });

  test("of a request that is still running is refused with 409, and replays once it is done", async () => {
    const headers = withKey();
    const send = () => client.patch(path, { nickname: "x" }, headers);
    const { first, second } = await whileLocked(database.url, [user.id], async (lock) => {
      const running = send();
      await lock.untilBlocked(1);
      return { first: running, second: await send() };
    });

    expect(problemOf(second)).toMatchObject({ status: 409, code: "IDEMPOTENCY_IN_FLIGHT", retryable: true });
    expect(await first).toMatchObject({ status: 200 });
    expect((await send()).headers["idempotent-replayed"]).toBe("true");
  });

  test("of a request that has failed may be used again", async () => {
    const headers = withKey();
    const body = newUser({ email: user.email });
    expect((await client.post(USERS, body, headers)).status).toBe(409);
    await client.request("DELETE", path);

    const response = await client.post(USERS, body, headers);

    expect(response.status).toBe(201);
    expect(response.headers["idempotent-replayed"]).toBeUndefined();
  });

  test.each(["k", "k".repeat(255), "order 4711: ~!@#$%^&*()", '"quoted"'])("may be %s", async (key) => {
    const body = newUser();

    const answers = [
      await client.post(USERS, body, withKey(key)),
      await client.post(USERS, body, withKey(key)),
    ];

    expect(answers.map(({ status }) => status)).toEqual([201, 201]);
  });

  test("makes one user of 1,000 creates at the same time: the others are told to wait, or get the same answer", async () => {
    const headers = withKey();
    const body = newUser();
    const many = new RestClient(node.url, { token: client.token, maxSockets: 1000 });
    const answers = await Promise.all(Array.from({ length: 1000 }, () => many.post(USERS, body, headers)));
    many.close();

    const created = answers.filter(({ status }) => status === 201);
    const firsts = created.filter((answer) => answer.headers["idempotent-replayed"] === undefined);
    expect(firsts).toHaveLength(1);
    expect(new Set(created.map(({ text }) => text)).size).toBe(1);
    const others = answers.filter(({ status }) => status !== 201).map((answer) => problemOf(answer).code);
    expect(others.filter((code) => code !== "IDEMPOTENCY_IN_FLIGHT")).toEqual([]);
    const { rows } = await sql.query("SELECT FROM users.users WHERE email = $1", [body.email]);
    expect(rows).toHaveLength(1);
  });

  test("makes one user of 20 creates at the same time", async () => {
    const body = newUser();
    const headers = withKey();

    const answers = await Promise.all(Array.from({ length: 20 }, () => client.post(USERS, body, headers)));

    const created = answers.filter(({ status }) => status === 201);
    const others = answers.filter(({ status }) => status !== 201);
    expect(new Set(created.map(({ text }) => text)).size).toBe(1);
    expect(others.map((response) => problemOf(response).code)).toEqual(
      others.map(() => "IDEMPOTENCY_IN_FLIGHT"),
    );
    expect((await client.get(`${USERS}?email=${body.email}`)).json).toMatchObject({
      data: [{ email: body.email }],
    });
  });
});

test("an error that nobody expected is a 500 without details, which are in the log under its request id", async () => {
  await sql.query("ALTER TABLE users.users RENAME TO users_away");
  const response = await client.post(USERS, newUser());
  await sql.query("ALTER TABLE users.users_away RENAME TO users");

  const problem = problemOf(response);
  expect(problem).toMatchObject({
    status: 500,
    code: "INTERNAL_ERROR",
    detail: "Something went wrong on our side",
  });
  const { requestId } = problem;
  await untilLogged(node, { level: "error", msg: "unexpected error", requestId });
  await untilLogged(node, { level: "error", msg: "request failed", requestId, status: 500 });
  expect(node.output).toContain('relation \\"users.users\\" does not exist');
});
