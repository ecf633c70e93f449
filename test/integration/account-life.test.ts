import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import type { RunningNode } from "../../bootstrap/running-node.ts";
import { fingerprint } from "../../lib/canonical-json.ts";
import { call } from "../../lib/contracts.ts";
import type { User } from "../../services/users/users.contract.ts";
import {
  createUserWithPassword,
  logIn,
  PASSWORD,
  principalOf,
  startAuthNodes,
  type AuthNodes,
} from "../support/auth-nodes.ts";
import { untilAllPublished } from "../support/outbox-rows.ts";
import { as, ask, withKey } from "../support/requests.ts";
import { newUser } from "../support/rest-client.ts";
import { messagesWith, tablesWith } from "../support/stored-text.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const WRONG = { type: "INVALID_CREDENTIALS", code: 401 };
const SUSPENDED = { type: "ACCOUNT_SUSPENDED", code: 403 };
const OVER = { type: "INVALID_REFRESH_TOKEN", code: 401 };

let nodes: TestNodes;
let auth: AuthNodes;

beforeAll(async () => {
  nodes = await startTestNodes();
  auth = await startAuthNodes(nodes);
  await nodes.start({ SERVICES: "events", NODE_ID: "events" });
});

afterAll(() => nodes.stop());

const refresh = (refreshToken: string) => call(auth.caller, "auth.refresh", { refreshToken });

/** The sessions that gateways are told have ended. */
const endedSessions = async (): Promise<string[]> =>
  (await call(auth.caller, "auth.revocations", {})).sessionIds;

async function loggedInUser() {
  const user = await createUserWithPassword(auth.caller);
  const tokens = await logIn(auth.caller, user);
  return { user, tokens, principal: principalOf(tokens) };
}

describe("a user that is created with a password", () => {
  test("can log in with it, and nobody is shown it", async () => {
    const password = `planted ${randomUUID()}`;
    const user = await call(auth.caller, "users.create", newUser({ password }), withKey(randomUUID()));
    expect(await logIn(auth.caller, user, password)).toMatchObject({ tokenType: "Bearer" });

    await untilAllPublished(nodes);
    expect(JSON.stringify(user)).not.toContain("planted");
    expect(await tablesWith(nodes, user.email)).toEqual(
      expect.arrayContaining(["users.users", "events.log"]),
    );
    expect(await tablesWith(nodes, password)).toEqual([]);
    expect(await messagesWith(nodes, password)).toEqual([]);
  });

  test.each([
    ["too short", "123456789"],
    ["too common", "1234567890"],
    ["too long", "x".repeat(257)],
    ["no text", 1_234_567_890],
  ])("is not created when that is %s", async (_, password) => {
    const params = newUser({ password });
    await expect(call(auth.caller, "users.create", params)).rejects.toMatchObject({
      type: expect.stringMatching(/^VALIDATION_(?:ERROR|FAILED)$/),
      data: expect.anything(),
    });
    await expect(call(auth.caller, "users.getByEmail", { email: params.email })).rejects.toMatchObject({
      type: "USER_NOT_FOUND",
    });
  });

  test("keeps its password when the request is sent again, and another one is another request", async () => {
    const [params, key] = [newUser({ password: PASSWORD }), withKey(randomUUID())];
    const first = await ask(auth.caller, "users.create", params, key);
    expect(await ask(auth.caller, "users.create", params, key)).toEqual({ ...first, isReplay: true });
    await expect(
      call(auth.caller, "users.create", newUser({ ...params, password: "another password" }), key),
    ).rejects.toMatchObject({ type: "IDEMPOTENCY_KEY_REUSED" });
    expect(await logIn(auth.caller, first.result)).toMatchObject({ tokenType: "Bearer" });
  });

  test("leaves no hash behind with which passwords could be tried", async () => {
    const [params, key] = [newUser({ password: PASSWORD }), randomUUID()];
    await call(auth.caller, "users.create", params, withKey(key));
    const stored = await nodes.sqlOne<{ fingerprint: string }>(
      "SELECT fingerprint FROM events.idempotency WHERE key = $1",
      [key],
    );
    expect(stored.fingerprint).not.toBe(fingerprint(params));
    expect(stored.fingerprint).toMatch(/^[\w-]{43}$/);
  });
});

describe("a user that is suspended", () => {
  test("is logged out at once and cannot log in until it is unsuspended", async () => {
    const { user, tokens, principal } = await loggedInUser();
    await call(auth.caller, "users.suspend", { id: user.id });

    expect(await endedSessions()).toContain(principal.sessionId);
    await expect(refresh(tokens.refreshToken)).rejects.toMatchObject({
      type: expect.stringMatching(/^(?:ACCOUNT_SUSPENDED|INVALID_REFRESH_TOKEN)$/),
    });
    await expect(logIn(auth.caller, user)).rejects.toMatchObject(SUSPENDED);

    await call(auth.caller, "users.unsuspend", { id: user.id });
    await expect(refresh(tokens.refreshToken)).rejects.toMatchObject(OVER);
    expect(await logIn(auth.caller, user)).toMatchObject({ tokenType: "Bearer" });
  });
});

describe("a user that is deleted", () => {
  test("is logged out at once and cannot log in until it is restored", async () => {
    const { user, tokens, principal } = await loggedInUser();
    await call(auth.caller, "users.delete", { id: user.id });

    expect(await endedSessions()).toContain(principal.sessionId);
    await expect(refresh(tokens.refreshToken)).rejects.toMatchObject(OVER);
    await expect(logIn(auth.caller, user)).rejects.toMatchObject(WRONG);

    await call(auth.caller, "users.restore", { id: user.id });
    expect(await logIn(auth.caller, user)).toMatchObject({ tokenType: "Bearer" });
  });
});

test("a user that is given another role is logged out, since its tokens say the old one", async () => {
  const { user, principal } = await loggedInUser();
  await call(auth.caller, "users.update", { id: user.id, nickname: "Ada" });
  await call(auth.caller, "users.update", { id: user.id, nickname: "Countess", role: "user" });
  expect(await endedSessions()).not.toContain(principal.sessionId);
  await call(auth.caller, "users.update", { id: user.id, role: "admin" });
  expect(await endedSessions()).toContain(principal.sessionId);
});

test.each([
  ["suspend", "unsuspend"],
  ["delete", "restore"],
] as const)("a %s that is sent again after its %s logs nobody out", async (step, undo) => {
  const { user } = await loggedInUser();
  const again = withKey(randomUUID());
  await call(auth.caller, `users.${step}`, { id: user.id }, again);
  await call(auth.caller, `users.${undo}`, { id: user.id });
  const { sessionId } = principalOf(await logIn(auth.caller, user));

  await call(auth.caller, `users.${step}`, { id: user.id }, again);
  await untilAllPublished(nodes);
  expect(await endedSessions()).not.toContain(sessionId);
});

test("a user that is erased leaves nothing that it could log in with", async () => {
  const { user, principal } = await loggedInUser();
  expect(await tablesWith(nodes, user.id)).toEqual(
    expect.arrayContaining(["auth.credentials", "auth.sessions"]),
  );
  await call(auth.caller, "users.erase", { id: user.id });

  expect(await endedSessions()).toContain(principal.sessionId);
  await expect(logIn(auth.caller, user)).rejects.toMatchObject(WRONG);
  await untilAllPublished(nodes);
  const tables = await tablesWith(nodes, user.id);
  expect(tables.filter((name) => !name.startsWith("events."))).toEqual([]);
});

describe("while auth is away", () => {
  let others: TestNodes;
  let users: ServiceBroker;
  const startAuth = async (): Promise<RunningNode> => others.start({ SERVICES: "auth", NODE_ID: "auth" });

  beforeAll(async () => {
    others = await startTestNodes();
    users = (await others.start({ SERVICES: "users,events", NODE_ID: "users" })).broker;
  });

  afterAll(() => others.stop());

  test.each(["suspend", "delete", "erase"] as const)(
    "%s is done, and takes effect when it is back",
    async (step) => {
      const first = await startAuth();
      const user = await createUserWithPassword(users);
      const tokens = await logIn(users, user);
      const { sessionId } = principalOf(tokens);
      await first.stop();

      await call(users, `users.${step}`, { id: user.id });
      const find = "SELECT ended_at FROM auth.sessions WHERE id = $1";
      // As if the clock of the users node were behind.
      await others.sql("UPDATE auth.sessions SET created_at = now() + interval '1 hour'");
      expect(await others.sql(find, [sessionId])).toEqual([{ ended_at: null }]);

      const second = await startAuth();
      await waitFor(async () => (await others.sql(find, [sessionId]))[0]?.["ended_at"] instanceof Date, {
        description: "the session to end",
      });
      const kept = await others.sql("SELECT FROM auth.credentials WHERE user_id = $1", [user.id]);
      expect(kept).toHaveLength(step === "erase" ? 0 : 1);
      await second.stop();
    },
  );

  test("another role is given, and tokens that say the old one end when it is back, but not those of another change", async () => {
    const first = await startAuth();
    const [admin, other] = [await createUserWithPassword(users), await createUserWithPassword(users)];
    await call(users, "users.update", { id: admin.id, role: "admin" });
    const sessionIds = [principalOf(await logIn(users, admin)), principalOf(await logIn(users, other))].map(
      ({ sessionId }) => sessionId,
    );
    await first.stop();
    await call(users, "users.update", { id: other.id, nickname: "x" });
    await call(users, "users.update", { id: admin.id, role: "user", nickname: "x" });

    const second = await startAuth();
    const ended = "SELECT id FROM auth.sessions WHERE id = ANY($1) AND ended_at IS NOT NULL";
    const isHandled = async (): Promise<boolean> => {
      const ids = "SELECT FROM events.inbox WHERE subject = ANY($1)";
      return (await others.sql(ids, [[admin.id, other.id]])).length === 3;
    };
    await waitFor(isHandled, { description: "the updates to be handled" });
    expect(await others.sql(ended, [sessionIds])).toEqual([{ id: sessionIds[0] }]);
    await second.stop();
  });

  test("a suspension that was undone meanwhile ends no later session", async () => {
    const first = await startAuth();
    const user = await createUserWithPassword(users);
    await first.stop();
    await call(users, "users.suspend", { id: user.id });
    await call(users, "users.unsuspend", { id: user.id });

    const second = await startAuth();
    const { sessionId } = principalOf(await logIn(users, user));
    // As if the clock of the users node were ahead.
    await others.sql("UPDATE auth.sessions SET created_at = now() - interval '1 hour'");
    const isHandled = async (): Promise<boolean> => {
      const handled = await others.sql("SELECT FROM events.inbox WHERE subject = $1", [user.id]);
      return handled.length > 0;
    };
    await waitFor(isHandled, { description: "the suspension to be handled" });
    expect(await others.sql("SELECT ended_at FROM auth.sessions WHERE id = $1", [sessionId])).toEqual([
      { ended_at: null },
    ]);
    await second.stop();
  });
});

describe("the export of a user", () => {
  const exportOf = (user: Pick<User, "id">, eventsAfter?: number) =>
    call(auth.caller, "users.export", { id: user.id, ...(eventsAfter !== undefined && { eventsAfter }) });

  test("is everything that is kept about it, without what is secret", async () => {
    const { user, tokens, principal } = await loggedInUser();
    const changed = await call(auth.caller, "users.update", { id: user.id, nickname: "Countess" });
    await untilAllPublished(nodes);

    const exported = await call(auth.caller, "users.export", { id: user.id }, as(principal));
    expect(exported).toEqual({
      user: changed,
      images: null,
      auth: {
        password: { changedAt: expect.any(String) },
        sessions: [expect.objectContaining({ id: principal.sessionId })],
      },
      events: [
        expect.objectContaining({ type: "user-created_v1", subject: user.id, data: user }),
        expect.objectContaining({ type: "user-updated_v1", subject: user.id, data: changed }),
      ],
      nextEventsAfter: null,
    });
    const text = JSON.stringify(exported);
    expect(text).not.toContain("argon2");
    for (const secret of [tokens.refreshToken, tokens.accessToken, PASSWORD])
      expect(text).not.toContain(secret);
  });

  test("is for the user itself and for admins, not for others", async () => {
    const [one, other] = await Promise.all([loggedInUser(), loggedInUser()]);
    const { id } = one.user;
    await expect(call(auth.caller, "users.export", { id }, as(other.principal))).rejects.toMatchObject({
      type: "FORBIDDEN",
    });
    const admin = { ...other.principal, role: "admin" } as const;
    expect(await call(auth.caller, "users.export", { id }, as(admin))).toMatchObject({ user: { id } });
  });

  test("is there also of a deleted user, and not of an erased one", async () => {
    const user = await createUserWithPassword(auth.caller);
    await call(auth.caller, "users.delete", { id: user.id });
    expect(await exportOf(user)).toMatchObject({ user: { id: user.id, status: "deleted" } });
    await call(auth.caller, "users.erase", { id: user.id });
    await expect(exportOf(user)).rejects.toMatchObject({ type: "USER_NOT_FOUND" });
  });

  test("of a user with more events than fit comes in parts, with each event once", async () => {
    const user = await call(auth.caller, "users.create", newUser({ bio: "x".repeat(2000) }));
    await nodes.sql(
      `INSERT INTO events.outbox (id, type, subject, data, changed_fields, actor, request_id, occurred_at)
       SELECT gen_random_uuid(), 'user-updated_v1', $1, data, '{bio}', 'anonymous', 'r', now()
       FROM (SELECT $2::jsonb AS data) AS user_data, generate_series(1, 1500)`,
      [user.id, JSON.stringify(user)],
    );
    await nodes.sql("SELECT pg_notify('events_outbox', '')");
    await untilAllPublished(nodes);

    const ids: string[] = [];
    let after: number | null | undefined;
    let parts = 0;
    do {
      const part = await exportOf(user, after ?? undefined);
      ids.push(...part.events.map(({ id }) => id));
      after = part.nextEventsAfter;
      parts += 1;
    } while (after !== null);
    expect(parts).toBeGreaterThan(1);
    expect(ids).toHaveLength(1501);
    expect(new Set(ids).size).toBe(1501);
  });
});
