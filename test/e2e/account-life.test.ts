import { afterAll, beforeAll, expect, test } from "@jest/globals";

import { adminClient, logIn } from "../support/admin.ts";
import { problemOf } from "../support/problems.ts";
import { newUser, RestClient, type UserBody } from "../support/rest-client.ts";
import { startRollcall, type Rollcall } from "../support/rollcall-process.ts";
import { waitFor } from "../support/wait-for.ts";

const USERS = "/api/v1/users";
const LOGIN = "/api/v1/auth/login";
const PASSWORD = "correct horse battery staple";

/** Everything in one process, without other servers. */
let node: Rollcall;
let admin: RestClient;

beforeAll(async () => {
  node = await startRollcall({ env: { SIGNUP: "open" } });
  admin = await adminClient(node.url);
});

afterAll(async () => {
  admin.close();
  await node.stop();
});

/** Somebody who has signed up and logged in. */
async function signUp(): Promise<{ user: UserBody; client: RestClient; path: string }> {
  const visitor = new RestClient(node.url);
  const response = await visitor.post(USERS, newUser({ password: PASSWORD }));
  visitor.close();
  expect(response.status).toBe(201);
  expect(response.text).not.toContain("password");
  const user = response.json as UserBody;
  const token = await logIn(node.url, { email: user.email, password: PASSWORD });
  return { user, client: new RestClient(node.url, { token }), path: `${USERS}/${user.id}` };
}

/** The answer to a login of a user. */
async function loginOf({ email }: UserBody): Promise<{ status: number; code: string | undefined }> {
  const client = new RestClient(node.url);
  const response = await client.post(LOGIN, { email, password: PASSWORD });
  client.close();
  return { status: response.status, code: (response.json as { code?: string }).code };
}

const untilRefused = (client: RestClient, path: string): Promise<unknown> =>
  waitFor(async () => (await client.get(path)).status === 401, { description: "the token to be refused" });

test("a user that is suspended is shut out until it is unsuspended", async () => {
  const { user, client, path } = await signUp();
  const suspended = await admin.post(`${path}/suspend`, undefined);
  expect(suspended).toMatchObject({ status: 200, headers: { etag: '"2"' } });
  expect(suspended.json).toMatchObject({
    ...user,
    status: "suspended",
    version: 2,
    updatedAt: expect.anything(),
  });

  await untilRefused(client, path);
  expect(await loginOf(user)).toEqual({ status: 403, code: "ACCOUNT_SUSPENDED" });
  expect((await admin.post(`${path}/unsuspend`, undefined, { "if-match": '"1"' })).status).toBe(412);
  expect((await admin.post(`${path}/unsuspend`, undefined, { "if-match": '"2"' })).status).toBe(200);
  expect((await loginOf(user)).status).toBe(200);
  client.close();
});

test("a user that is deleted is shut out until it is restored, and for good when it is erased", async () => {
  const { user, client, path } = await signUp();
  expect((await client.request("DELETE", path)).status).toBe(204);
  await untilRefused(client, path);
  expect(await loginOf(user)).toEqual({ status: 401, code: "INVALID_CREDENTIALS" });

  expect((await admin.post(`${path}/restore`, undefined)).status).toBe(200);
  expect((await loginOf(user)).status).toBe(200);

  expect((await admin.post(`${path}/erase`, undefined)).status).toBe(204);
  expect(await loginOf(user)).toEqual({ status: 401, code: "INVALID_CREDENTIALS" });
  expect(problemOf(await admin.get(`${path}/export`)).code).toBe("USER_NOT_FOUND");
  client.close();
});

test("a user gets everything that is kept about it, in JSON and in XML", async () => {
  const { user, client, path } = await signUp();
  await client.patch(path, { nickname: "Countess" });
  const isWhole = async (): Promise<boolean> => {
    const { events } = (await client.get(`${path}/export`)).json as { events: object[] };
    return events.length === 2;
  };
  await waitFor(isWhole, { description: "the events to be in the log" });

  const json = await client.get(`${path}/export`);
  expect(json.headers["cache-control"]).toBe("no-store");
  expect(json.json).toMatchObject({
    user: { id: user.id, nickname: "Countess" },
    auth: { password: { changedAt: expect.any(String) }, sessions: [{ id: expect.any(String) }] },
    events: [{ type: "user-created_v1" }, { type: "user-updated_v1", actor: `user:${user.id}` }],
    nextEventsAfter: null,
  });
  const xml = await client.get(`${path}/export`, { accept: "application/xml" });
  expect(xml.text).toContain("<nickname>Countess</nickname>");
  expect(problemOf(await client.get(`${path}/export?eventsAfter=-1`))).toMatchObject({
    code: "VALIDATION_FAILED",
    errors: [expect.objectContaining({ field: "eventsAfter" })],
  });
  client.close();
});

test("an admin is told who changed a user, page by page, and the user is not", async () => {
  const { user, client, path } = await signUp();
  await client.patch(path, { nickname: "Countess" });
  await admin.post(`${path}/suspend`, undefined);
  const isWhole = async (): Promise<boolean> =>
    ((await admin.get(`${path}/history`)).json as { data: object[] }).data.length === 3;
  await waitFor(isWhole, { description: "the events to be in the log" });

  const first = await admin.get(`${path}/history?limit=2`);
  expect(first.json).toMatchObject({
    data: [
      { type: "user-created_v1", actor: "anonymous", version: 1 },
      { type: "user-updated_v1", actor: `user:${user.id}`, changedFields: ["nickname"], version: 2 },
    ],
    nextCursor: expect.any(String),
  });
  const [, next = ""] = /<([^>]*)>; rel="next"/.exec(String(first.headers.link)) ?? [];
  expect((await admin.get(next)).json).toMatchObject({
    data: [{ type: "user-suspended_v1", actor: expect.stringMatching(/^user:/), changedFields: ["status"] }],
    nextCursor: null,
  });

  await admin.post(`${path}/unsuspend`, undefined);
  const token = await logIn(node.url, { email: user.email, password: PASSWORD });
  const again = new RestClient(node.url, { token });
  expect((await again.get(`${path}/history`)).status).toBe(403);
  again.close();
  client.close();
});
