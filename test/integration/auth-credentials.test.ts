import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { call } from "../../lib/contracts.ts";
import {
  createUserWithPassword,
  logIn,
  PASSWORD,
  principalOf,
  startAuthNodes,
  type AuthNodes,
} from "../support/auth-nodes.ts";
import { as, ask, withKey } from "../support/requests.ts";
import { newUser } from "../support/rest-client.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";

const WRONG = { type: "INVALID_CREDENTIALS", code: 401 };
const OVER = { type: "INVALID_REFRESH_TOKEN" };
const COMMON = { type: "VALIDATION_FAILED", data: { errors: [expect.objectContaining({ rule: "common" })] } };
const NEW = "another horse battery staple";

let nodes: TestNodes;
let auth: AuthNodes;

beforeAll(async () => {
  nodes = await startTestNodes();
  auth = await startAuthNodes(nodes);
});

afterAll(() => nodes.stop());

/** Everything that the database holds, as text. */
async function dump(): Promise<string> {
  const tables = await nodes.sql<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
      WHERE schemaname IN ('auth', 'events', 'users')`,
  );
  const queries = tables.map(({ name }) => `SELECT t::text AS row FROM ${name} AS t`);
  return JSON.stringify(await nodes.sql(queries.join(" UNION ALL ")));
}

describe("a change of the password", () => {
  test("ends all other sessions, and from then on only the new one is right", async () => {
    const user = await createUserWithPassword(auth.caller);
    const [mine, other] = [await logIn(auth.caller, user), await logIn(auth.caller, user)];

    const change = { currentPassword: PASSWORD, newPassword: NEW };
    await call(auth.caller, "auth.changePassword", change, as(principalOf(mine)));

    await expect(
      call(auth.caller, "auth.refresh", { refreshToken: other.refreshToken }),
    ).rejects.toMatchObject(OVER);
    await call(auth.caller, "auth.refresh", { refreshToken: mine.refreshToken });
    await expect(logIn(auth.caller, user)).rejects.toMatchObject(WRONG);
    await logIn(auth.caller, user, NEW);
  });

  test("that is sent twice with one key is made once, although the password is another one then", async () => {
    const user = await createUserWithPassword(auth.caller);
    const principal = principalOf(await logIn(auth.caller, user));
    const change = { currentPassword: PASSWORD, newPassword: NEW };
    const options = withKey(randomUUID(), as(principal));

    const first = await ask(auth.caller, "auth.changePassword", change, options);
    const second = await ask(auth.caller, "auth.changePassword", change, options);

    expect([first.isReplay, second.isReplay]).toEqual([false, true]);
    await expect(
      call(auth.caller, "auth.changePassword", { ...change, newPassword: `${NEW}!` }, options),
    ).rejects.toMatchObject({ type: "IDEMPOTENCY_KEY_REUSED" });
  });

  test("is refused with a wrong current password, or to a common one", async () => {
    const user = await createUserWithPassword(auth.caller);
    const options = as(principalOf(await logIn(auth.caller, user)));
    const change = (currentPassword: string, newPassword: string) =>
      call(auth.caller, "auth.changePassword", { currentPassword, newPassword }, options);

    await expect(change("wrong", NEW)).rejects.toMatchObject(WRONG);
    await expect(change(PASSWORD, "Password123")).rejects.toMatchObject(COMMON);
    await expect(change(PASSWORD, "too short")).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    await logIn(auth.caller, user);
  });

  test("by two at the same time succeeds for one", async () => {
    const user = await createUserWithPassword(auth.caller);
    const options = as(principalOf(await logIn(auth.caller, user)));

    const outcomes = await Promise.allSettled(
      ["first new password", "second new password"].map((newPassword) =>
        call(auth.caller, "auth.changePassword", { currentPassword: PASSWORD, newPassword }, options),
      ),
    );

    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });
});

describe("a password that another service sets", () => {
  test("may be that of a user who is created a moment later", async () => {
    const user = newUser();
    const { id } = await call(auth.caller, "users.create", user);
    await call(auth.caller, "auth.setPassword", { userId: id, password: PASSWORD });

    expect(await call(auth.caller, "auth.login", { email: user.email, password: PASSWORD })).toBeDefined();
  });

  test("takes the place of the one before, and ends all sessions", async () => {
    const user = await createUserWithPassword(auth.caller);
    const { refreshToken } = await logIn(auth.caller, user);

    await call(auth.caller, "auth.setPassword", { userId: user.id, password: NEW });

    await expect(call(auth.caller, "auth.refresh", { refreshToken })).rejects.toMatchObject(OVER);
    await expect(logIn(auth.caller, user)).rejects.toMatchObject(WRONG);
    await logIn(auth.caller, user, NEW);
  });

  test("is refused when it is common", async () => {
    const params = { userId: randomUUID(), password: "1234567890" };
    await expect(call(auth.caller, "auth.setPassword", params)).rejects.toMatchObject(COMMON);
  });
});

describe("what is kept about a user", () => {
  test("is exported without anything secret", async () => {
    const user = await createUserWithPassword(auth.caller);
    const tokens = await logIn(auth.caller, user);

    expect(await call(auth.caller, "auth.exportUser", { userId: user.id })).toEqual({
      password: { changedAt: expect.stringMatching(/^\d{4}-.*Z$/) },
      sessions: [
        {
          id: principalOf(tokens).sessionId,
          createdAt: expect.stringMatching(/Z$/),
          lastUsedAt: expect.stringMatching(/Z$/),
          expiresAt: expect.stringMatching(/Z$/),
        },
      ],
    });
  });

  test("is gone after an erasure, which ends all sessions", async () => {
    const user = await createUserWithPassword(auth.caller);
    const tokens = await logIn(auth.caller, user);

    await call(auth.caller, "auth.eraseUser", { userId: user.id });

    expect(await call(auth.caller, "auth.exportUser", { userId: user.id })).toEqual({
      password: null,
      sessions: [],
    });
    await expect(
      call(auth.caller, "auth.refresh", { refreshToken: tokens.refreshToken }),
    ).rejects.toMatchObject(OVER);
    const { sessionIds } = await call(auth.caller, "auth.revocations", {});
    expect(sessionIds).toContain(principalOf(tokens).sessionId);
    expect(await nodes.sql("SELECT FROM auth.sessions WHERE user_id = $1", [user.id])).toEqual([]);
  });
});

test("no password, token or key is in the database, and nothing that is made of them by a fast hash without a key", async () => {
  const user = await createUserWithPassword(auth.caller);
  const tokens = await logIn(auth.caller, user);
  const next = await call(auth.caller, "auth.refresh", { refreshToken: tokens.refreshToken });
  await call(
    auth.caller,
    "auth.changePassword",
    { currentPassword: PASSWORD, newPassword: NEW },
    as(principalOf(next)),
  );
  const { key } = await call(auth.caller, "auth.createApiKey", { name: "secret", scopes: ["users:read"] });
  const { fingerprint } = await import("../../lib/canonical-json.ts");

  const text = await dump();

  const secrets = [PASSWORD, NEW, tokens.refreshToken, next.refreshToken, next.accessToken, key];
  expect(secrets.filter((secret) => text.includes(secret))).toEqual([]);
  expect(text).not.toContain(fingerprint({ currentPassword: PASSWORD, newPassword: NEW }));
  expect(text).toContain(key.slice(0, 15));
});
