import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { call } from "../../lib/contracts.ts";
import {
  claimsOf,
  createUserWithPassword,
  hashCountOf,
  logIn,
  PASSWORD,
  principalOf,
  startAuthNodes,
  type AuthNodes,
} from "../support/auth-nodes.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { as, withKey } from "../support/requests.ts";
import { newUser } from "../support/rest-client.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";

const WRONG = { type: "INVALID_CREDENTIALS", code: 401, retryable: false };
const OVER = { type: "INVALID_REFRESH_TOKEN", code: 401, retryable: false };
const SUSPENDED = { type: "ACCOUNT_SUSPENDED", code: 403 };

const { log, entries } = capturingLogger();
let nodes: TestNodes;
let auth: AuthNodes;

beforeAll(async () => {
  nodes = await startTestNodes();
  auth = await startAuthNodes(nodes, {}, log);
});

afterAll(() => nodes.stop());

const refresh = (refreshToken: string, key?: string) =>
  call(auth.caller, "auth.refresh", { refreshToken }, key === undefined ? undefined : withKey(key));
const suspend = (id: string) => nodes.sql("UPDATE users.users SET status = 'suspended' WHERE id = $1", [id]);
const endedSessions = async (since?: string) =>
  (await call(auth.caller, "auth.revocations", since === undefined ? {} : { since })).sessionIds;
const totalHashes = () => hashCountOf(auth.a) + hashCountOf(auth.b);

describe("a login", () => {
  test("gives an access token for 15 minutes and a refresh token, in any letter case of the address", async () => {
    const user = await createUserWithPassword(auth.caller);

    const tokens = await logIn(auth.caller, { ...user, email: user.email.toUpperCase() });

    expect(tokens).toEqual({
      accessToken: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]{86}$/),
      refreshToken: expect.stringMatching(/^[\w-]{43}$/),
      tokenType: "Bearer",
      expiresIn: 900,
    });
    const claims = claimsOf(tokens);
    expect(claims).toMatchObject({ iss: "rollcall", aud: "rollcall", sub: user.id, role: "user" });
    expect(Number(claims["exp"]) - Number(claims["iat"])).toBe(900);
  });

  test("of an unknown user, of one without a password, and with a wrong password cost one hash and say the same", async () => {
    const known = await createUserWithPassword(auth.caller);
    const bare = await call(auth.caller, "users.create", newUser());
    const attempts = [
      { email: newUser().email, password: PASSWORD },
      { email: bare.email, password: PASSWORD },
      { email: known.email, password: "wrong horse" },
    ];
    for (const attempt of attempts) {
      const before = totalHashes();
      await expect(call(auth.caller, "auth.login", attempt)).rejects.toMatchObject(WRONG);
      expect(totalHashes() - before).toBe(1);
    }
    const before = totalHashes();
    await logIn(auth.caller, known);
    expect(totalHashes() - before).toBe(1);
  });

  test("of a suspended user is told so only after the right password", async () => {
    const user = await createUserWithPassword(auth.caller);
    await suspend(user.id);

    await expect(logIn(auth.caller, user, "wrong horse")).rejects.toMatchObject(WRONG);
    await expect(logIn(auth.caller, user)).rejects.toMatchObject(SUSPENDED);
  });

  test("of a deleted user is refused as that of nobody", async () => {
    const user = await createUserWithPassword(auth.caller);
    await call(auth.caller, "users.delete", { id: user.id });

    await expect(logIn(auth.caller, user)).rejects.toMatchObject(WRONG);
  });

  test("takes a password whose letters are composed in another way", async () => {
    const user = await createUserWithPassword(auth.caller, "pässwörter über alles".normalize("NFD"));

    const tokens = await logIn(auth.caller, user, "pässwörter über alles".normalize("NFC"));

    expect(claimsOf(tokens)["sub"]).toBe(user.id);
  });

  test("that began before all sessions of the user ended makes none", async () => {
    const user = await createUserWithPassword(auth.caller);
    const open = await nodes.openTransaction([
      "UPDATE auth.credentials SET generation = generation + 1 WHERE user_id = $1",
      [user.id],
    ]);
    const login = Promise.allSettled([logIn(auth.caller, user)]);
    await nodes.untilBlocked(1);
    await open.commit();

    expect(await login).toEqual([{ status: "rejected", reason: expect.objectContaining(WRONG) }]);
    expect(await nodes.sql("SELECT FROM auth.sessions WHERE user_id = $1", [user.id])).toEqual([]);
  });

  test("makes a hash of another cost anew", async () => {
    const user = await createUserWithPassword(auth.caller);
    const stored = async () =>
      (
        await nodes.sqlOne<{ hash: string }>(
          "SELECT password_hash AS hash FROM auth.credentials WHERE user_id = $1",
          [user.id],
        )
      ).hash;
    const { argon2Sync } = await import("node:crypto");
    const salt = Buffer.from("0123456789abcdef");
    const cheap = argon2Sync("argon2id", {
      message: PASSWORD,
      nonce: salt,
      memory: 1024,
      passes: 1,
      parallelism: 1,
      tagLength: 32,
    });
    const text = (bytes: Buffer) => bytes.toString("base64").replaceAll("=", "");
    await nodes.sql("UPDATE auth.credentials SET password_hash = $2 WHERE user_id = $1", [
      user.id,
      `$argon2id$v=19$m=1024,t=1,p=1$${text(salt)}$${text(cheap)}`,
    ]);

    await logIn(auth.caller, user);

    expect(await stored()).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    await logIn(auth.caller, user);
  });
});

describe("a refresh", () => {
  test("gives another pair of the same session, again and again", async () => {
    const user = await createUserWithPassword(auth.caller);
    const first = await logIn(auth.caller, user);
    const second = await refresh(first.refreshToken);
    const third = await refresh(second.refreshToken);

    expect(new Set([first, second, third].map(({ refreshToken }) => refreshToken)).size).toBe(3);
    expect(new Set([first, second, third].map((tokens) => claimsOf(tokens)["sid"])).size).toBe(1);
  });

  test("with a token that was used before ends the session for everybody, and is in the log", async () => {
    const user = await createUserWithPassword(auth.caller);
    const stolen = await logIn(auth.caller, user);
    const sessionId = claimsOf(stolen)["sid"];
    const current = await refresh(stolen.refreshToken);

    await expect(refresh(stolen.refreshToken)).rejects.toMatchObject(OVER);

    await expect(refresh(current.refreshToken)).rejects.toMatchObject(OVER);
    expect(await endedSessions()).toContain(sessionId);
    expect(entries).toContainEqual(
      expect.objectContaining({
        level: 40,
        sessionId,
        userId: user.id,
        msg: expect.stringContaining("used twice"),
      }),
    );
  });

  test("that is the same request once more gets the same token, as long as that was not used", async () => {
    const tokens = await logIn(auth.caller, await createUserWithPassword(auth.caller));
    const key = randomUUID();

    const next = await refresh(tokens.refreshToken, key);
    const again = await refresh(tokens.refreshToken, key);

    expect(again.refreshToken).toBe(next.refreshToken);
    await refresh(next.refreshToken);
    await expect(refresh(tokens.refreshToken, key)).rejects.toMatchObject(OVER);
  });

  test("that is repeated later than a minute is a second use", async () => {
    const tokens = await logIn(auth.caller, await createUserWithPassword(auth.caller));
    const key = randomUUID();
    const next = await refresh(tokens.refreshToken, key);
    await nodes.sql("UPDATE auth.refresh_tokens SET rotated_at = rotated_at - interval '61 seconds'");

    await expect(refresh(tokens.refreshToken, key)).rejects.toMatchObject(OVER);
    await expect(refresh(next.refreshToken)).rejects.toMatchObject(OVER);
  });

  test("by two at the same time succeeds for one, and ends the session", async () => {
    const tokens = await logIn(auth.caller, await createUserWithPassword(auth.caller));

    const outcomes = await Promise.allSettled([1, 2, 3, 4].map(() => refresh(tokens.refreshToken)));

    const winners = outcomes.filter((outcome) => outcome.status === "fulfilled");
    expect(winners).toHaveLength(1);
    await expect(refresh(winners[0]?.value.refreshToken ?? "")).rejects.toMatchObject(OVER);
  });

  test("with a token that nobody has, or that has expired, is refused", async () => {
    const tokens = await logIn(auth.caller, await createUserWithPassword(auth.caller));
    await nodes.sql("UPDATE auth.refresh_tokens SET expires_at = now() WHERE session_id = $1", [
      claimsOf(tokens)["sid"],
    ]);

    await expect(refresh(tokens.refreshToken)).rejects.toMatchObject(OVER);
    await expect(refresh("x".repeat(43))).rejects.toMatchObject(OVER);
  });

  test("of a suspended or deleted user is refused", async () => {
    const [suspended, deleted] = [
      await createUserWithPassword(auth.caller),
      await createUserWithPassword(auth.caller),
    ];
    const [first, second] = [await logIn(auth.caller, suspended), await logIn(auth.caller, deleted)];
    await suspend(suspended.id);
    await call(auth.caller, "users.delete", { id: deleted.id });

    await expect(refresh(first.refreshToken)).rejects.toMatchObject(SUSPENDED);
    await expect(refresh(second.refreshToken)).rejects.toMatchObject(OVER);
  });
});

describe("the end of a session", () => {
  test("comes with a logout by its refresh token, or by its access token, and a second one is no error", async () => {
    const user = await createUserWithPassword(auth.caller);
    const [first, second] = [await logIn(auth.caller, user), await logIn(auth.caller, user)];

    await call(auth.caller, "auth.logout", { refreshToken: first.refreshToken });
    await call(auth.caller, "auth.logout", {}, as(principalOf(second)));
    await call(auth.caller, "auth.logout", { refreshToken: first.refreshToken });

    for (const { refreshToken } of [first, second]) {
      await expect(refresh(refreshToken)).rejects.toMatchObject(OVER);
    }
    expect(await endedSessions()).toEqual(
      expect.arrayContaining([claimsOf(first)["sid"], claimsOf(second)["sid"]]),
    );
  });

  test("comes for all sessions of a user when another service says so", async () => {
    const user = await createUserWithPassword(auth.caller);
    const tokens = [await logIn(auth.caller, user), await logIn(auth.caller, user)];
    const other = await logIn(auth.caller, await createUserWithPassword(auth.caller));

    await call(auth.caller, "auth.endSessions", { userId: user.id });

    for (const { refreshToken } of tokens) await expect(refresh(refreshToken)).rejects.toMatchObject(OVER);
    await refresh(other.refreshToken);
  });

  test("is reported since the last question, however late its transaction commits", async () => {
    const tokens = await logIn(auth.caller, await createUserWithPassword(auth.caller));
    const sid = claimsOf(tokens)["sid"];
    const open = await nodes.openTransaction([
      "UPDATE auth.sessions SET ended_at = clock_timestamp() WHERE id = $1",
      [sid],
    ]);
    const { until, sessionIds } = await call(auth.caller, "auth.revocations", {});
    expect(sessionIds).not.toContain(sid);
    await open.commit();

    expect(await endedSessions(until)).toContain(sid);
  });

  test("comes for the oldest one when a user has more than a hundred", async () => {
    const user = await createUserWithPassword(auth.caller);
    const oldest = await logIn(auth.caller, user);
    await nodes.sql(
      `INSERT INTO auth.sessions (id, user_id, created_at, last_used_at, expires_at)
        SELECT ('ffffffff-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, $1, now(), now(), now() + interval '1 day'
        FROM generate_series(1, 99) AS series (n)`,
      [user.id],
    );

    const newest = await logIn(auth.caller, user);

    await expect(refresh(oldest.refreshToken)).rejects.toMatchObject(OVER);
    await refresh(newest.refreshToken);
  });
});
