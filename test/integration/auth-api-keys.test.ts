import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { call } from "../../lib/contracts.ts";
import { TokenVerifier } from "../../services/api/token-verifier.ts";
import type { ApiKey } from "../../services/auth/auth.contract.ts";
import { startAuthNodes, type AuthNodes } from "../support/auth-nodes.ts";
import { ask, withKey } from "../support/requests.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const NOT_FOUND = { type: "API_KEY_NOT_FOUND", code: 404 };
const INVALID = { type: "INVALID_TOKEN", code: 401 };
const BACKEND = { name: "billing", scopes: ["users:read" as const, "events:read" as const] };
const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

let nodes: TestNodes;
let auth: AuthNodes;
let verifier: TokenVerifier;

beforeAll(async () => {
  nodes = await startTestNodes();
  auth = await startAuthNodes(nodes);
  verifier = new TokenVerifier({ broker: auth.caller, log: silentLogger });
  await verifier.start();
});

afterAll(async () => {
  verifier.stop();
  await nodes.stop();
});

const create = (params: Partial<typeof BACKEND> & { expiresInDays?: number } = {}) =>
  call(auth.caller, "auth.createApiKey", { ...BACKEND, ...params });
const check = (key: string) => call(auth.caller, "auth.checkApiKey", { key });

async function allKeys(): Promise<ApiKey[]> {
  const page = await call(auth.caller, "auth.listApiKeys", { limit: 100 });
  return page.data;
}

describe("a new API key", () => {
  test("is shown whole once, and later by how it begins", async () => {
    const { key, ...created } = await create({ expiresInDays: 30 });

    expect(key).toMatch(/^rk_[0-9a-f]{12}_[\w-]{43}$/);
    expect(created).toEqual({
      id: expect.any(String),
      ...BACKEND,
      prefix: key.slice(0, 15),
      createdAt: TIME,
      expiresAt: TIME,
      lastUsedAt: null,
      previousValidUntil: null,
      revokedAt: null,
    });
    expect(await allKeys()).toContainEqual(created);
    expect(await check(key)).toEqual({ id: created.id, scopes: BACKEND.scopes });
  });

  test("is the same when the request is sent again, on whichever node", async () => {
    const options = withKey(randomUUID());
    const answers = [];
    for (let round = 0; round < 4; round += 1) {
      answers.push(await ask(auth.caller, "auth.createApiKey", BACKEND, options));
    }

    expect(new Set(answers.map(({ result }) => result.key)).size).toBe(1);
    expect(answers.map(({ isReplay }) => isReplay)).toEqual([false, true, true, true]);
  });

  test.each([
    ["name", { name: "" }],
    ["name", { name: "bell\u0007" }],
    ["scopes", { scopes: [] }],
    ["scopes[0]", { scopes: ["everything" as never] }],
    ["expiresInDays", { expiresInDays: 0 }],
  ])("is refused with a wrong %s: %j", async (field, params) => {
    await expect(create(params)).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: [expect.objectContaining({ field })],
    });
  });
});

describe("the list", () => {
  test("has the newest first and is read page by page to its end", async () => {
    const made = [await create(), await create(), await create()].map(({ id }) => id);
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page: { data: ApiKey[]; nextCursor: string | null } = await call(
        auth.caller,
        "auth.listApiKeys",
        {
          limit: 2,
          ...(cursor !== null && { cursor }),
        },
      );
      seen.push(...page.data.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== null);

    expect(seen.slice(0, 3)).toEqual(made.toReversed());
    expect(new Set(seen).size).toBe(seen.length);
    await expect(call(auth.caller, "auth.listApiKeys", { cursor: "x" })).rejects.toMatchObject({
      type: "INVALID_CURSOR",
    });
  });
});

describe("an API key", () => {
  test("that is changed, cut off, or only looks like one is none", async () => {
    const { key } = await create();
    const other = await create();

    const forged = [
      `${key}x`,
      key.slice(0, -1),
      `${key.slice(0, -1)}${key.endsWith("A") ? "B" : "A"}`,
      `${other.prefix}${key.slice(15)}`,
      key.toUpperCase(),
      "rk_",
      `rk_000000000000_${"A".repeat(43)}`,
    ];
    expect(await Promise.all(forged.map(check))).toEqual(forged.map(() => null));
  });

  test("that has expired is none", async () => {
    const { key, id } = await create({ expiresInDays: 1 });
    await nodes.sql("UPDATE auth.api_keys SET expires_at = now() WHERE id = $1", [id]);

    expect(await check(key)).toBeNull();
  });

  test("remembers to the minute when it was last used", async () => {
    const { key, id } = await create();
    const lastUse = async () => (await allKeys()).find((each) => each.id === id)?.lastUsedAt;
    await check(key);
    const first = await lastUse();
    await check(key);

    expect(first).toEqual(TIME);
    expect(await lastUse()).toBe(first);
    await nodes.sql("UPDATE auth.api_keys SET last_used_at = now() - interval '61 s' WHERE id = $1", [id]);
    await check(key);
    expect(Date.parse((await lastUse()) ?? "")).toBeGreaterThanOrEqual(Date.parse(first ?? ""));
  });

  test("that is revoked is none any more, and cannot be revoked or rotated again", async () => {
    const { key, id } = await create();
    await call(auth.caller, "auth.revokeApiKey", { id });

    expect(await check(key)).toBeNull();
    expect((await allKeys()).find((each) => each.id === id)?.revokedAt).toEqual(TIME);
    await expect(call(auth.caller, "auth.revokeApiKey", { id })).rejects.toMatchObject(NOT_FOUND);
    await expect(call(auth.caller, "auth.rotateApiKey", { id })).rejects.toMatchObject(NOT_FOUND);
  });

  test("that is rotated is valid for a while beside the new one, and no longer than until the next rotation", async () => {
    const first = await create();
    const second = await call(auth.caller, "auth.rotateApiKey", { id: first.id, overlapMinutes: 10 });

    expect(second).toMatchObject({ id: first.id, prefix: first.prefix, previousValidUntil: TIME });
    expect(await Promise.all([first.key, second.key].map(check))).not.toContain(null);

    const third = await call(auth.caller, "auth.rotateApiKey", { id: first.id, overlapMinutes: 0 });
    expect(await Promise.all([first.key, second.key].map(check))).toEqual([null, null]);
    expect(await check(third.key)).not.toBeNull();
  });

  test("leaves an event of each change, with nothing secret in it", async () => {
    const { key, id } = await create();
    const { key: rotated } = await call(auth.caller, "auth.rotateApiKey", { id });
    await call(auth.caller, "auth.revokeApiKey", { id });

    const events = await nodes.sql<{ type: string; data: ApiKey }>(
      "SELECT type, data FROM events.outbox WHERE subject = $1 ORDER BY position",
      [id],
    );
    expect(events.map(({ type }) => type)).toEqual([
      "api-key-created_v1",
      "api-key-rotated_v1",
      "api-key-revoked_v1",
    ]);
    const text = JSON.stringify(events);
    expect([key, rotated].filter((secret) => text.includes(secret.slice(16)))).toEqual([]);
    expect(events.at(-1)?.data).toMatchObject({ id, revokedAt: TIME });
  });
});

describe("a gateway", () => {
  test("knows whose an API key is, and within a second that it is revoked", async () => {
    const { key, id } = await create();

    expect(await verifier.verifyApiKey(key)).toEqual({ kind: "api-key", id, scopes: BACKEND.scopes });
    await call(auth.caller, "auth.revokeApiKey", { id });

    await waitFor(
      async () => {
        await expect(verifier.verifyApiKey(key)).rejects.toMatchObject(INVALID);
        return true;
      },
      { description: "the key to be refused" },
    );
  });

  test.each(["", "rk_", "rk_zzzzzzzzzzzz_abc", "x".repeat(300), `rk_000000000000_${"A".repeat(43)}`])(
    "refuses what is no key: %s",
    async (key) => {
      await expect(verifier.verifyApiKey(key)).rejects.toMatchObject(INVALID);
    },
  );
});
