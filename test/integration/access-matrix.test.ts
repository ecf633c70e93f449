import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { ACTION_ACCESS, PATH_ACCESS } from "../../lib/access.ts";
import { call } from "../../lib/contracts.ts";
import { newId } from "../../lib/ids.ts";
import { SCOPES, type Role, type Scope } from "../../lib/principal.ts";
import { REST_ROUTES } from "../../services/api/routes.ts";
import { ADMIN, ADMIN_SETTINGS, logIn } from "../support/admin.ts";
import { FORGED_TOKENS } from "../support/forged-tokens.ts";
import { as } from "../support/requests.ts";
import { newUser, RestClient } from "../support/rest-client.ts";
import { signingKey, signToken, TEST_AUTH_KEY } from "../support/test-tokens.ts";
import { portOf } from "../support/test-gateway.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

/*
 * Every route times every kind of caller. What is expected is written out here once more, and not taken from the access
 * table, which would agree with itself.
 */

/** Who sends a request. The first three get in where the row says so, a key where it has the scope. */
const CALLERS = [
  "owner",
  "other user",
  "admin",
  "key with the scope",
  "key without the scope",
  "nobody",
  "suspended",
  "expired",
  "forged",
] as const;
type Caller = (typeof CALLERS)[number];

interface Row {
  readonly route: string;
  /** What those get that may: a status, with a code when it is an error. */
  readonly admitted: string;
  /** "all" are those who get in by whatever credentials. */
  readonly may: readonly ("owner" | "other user" | "admin" | "all")[];
  /** Which scope lets an API key in; "any" of them may. */
  readonly scope?: Scope | "any";
  readonly query?: string;
  readonly body?: () => object;
  /** What the route is about before each request. */
  readonly target?: "user" | "suspended user" | "deleted user" | "API key";
}

const USER: Pick<Row, "target"> = { target: "user" };
const NOTHING = () => ({});

const USER_ROWS = ["/api/v1/users", "/api/v1/profiles"].flatMap((base): Row[] => [
  { route: `POST ${base}`, admitted: "201", may: ["admin"], scope: "users:write", body: () => newUser() },
  { route: `GET ${base}`, admitted: "200", may: ["admin"], scope: "users:read" },
  { route: `GET ${base}/:id`, admitted: "200", may: ["owner", "admin"], scope: "users:read", ...USER },
  {
    route: `PUT ${base}/:id`,
    admitted: "200",
    may: ["owner", "admin"],
    scope: "users:write",
    body: () => newUser(),
    ...USER,
  },
  {
    route: `PATCH ${base}/:id`,
    admitted: "200",
    may: ["owner", "admin"],
    scope: "users:write",
    body: () => ({ nickname: "x" }),
    ...USER,
  },
  { route: `DELETE ${base}/:id`, admitted: "204", may: ["owner", "admin"], scope: "users:write", ...USER },
  {
    route: `POST ${base}/:id/restore`,
    admitted: "200",
    may: ["admin"],
    scope: "users:write",
    target: "deleted user",
  },
  { route: `POST ${base}/:id/suspend`, admitted: "200", may: ["admin"], scope: "users:write", ...USER },
  {
    route: `POST ${base}/:id/unsuspend`,
    admitted: "200",
    may: ["admin"],
    scope: "users:write",
    target: "suspended user",
  },
  { route: `GET ${base}/:id/export`, admitted: "200", may: ["owner", "admin"], ...USER },
  { route: `GET ${base}/:id/history`, admitted: "200", may: ["admin"], ...USER },
  { route: `POST ${base}/:id/erase`, admitted: "204", may: ["admin"], scope: "users:write", ...USER },
]);

const AUTH_ROWS: Row[] = [
  {
    route: "POST /api/v1/auth/login",
    admitted: "401 INVALID_CREDENTIALS",
    may: ["all"],
    body: () => ({ email: ADMIN.email, password: "wrong" }),
  },
  {
    route: "POST /api/v1/auth/refresh",
    admitted: "401 INVALID_REFRESH_TOKEN",
    may: ["all"],
    body: () => ({ refreshToken: "wrong" }),
  },
  {
    route: "POST /api/v1/auth/logout",
    admitted: "204",
    may: ["all"],
    body: () => ({ refreshToken: "wrong" }),
  },
  { route: "GET /api/v1/auth/me", admitted: "200", may: ["owner", "other user", "admin"], scope: "any" },
  {
    route: "POST /api/v1/auth/password",
    admitted: "401 INVALID_CREDENTIALS",
    may: ["owner", "other user", "admin"],
    body: () => ({ currentPassword: "wrong", newPassword: "another password" }),
  },
  {
    route: "POST /api/v1/auth/api-keys",
    admitted: "201",
    may: ["admin"],
    body: () => ({ name: "a key", scopes: ["users:read"] }),
  },
  { route: "GET /api/v1/auth/api-keys", admitted: "200", may: ["admin"] },
  { route: "DELETE /api/v1/auth/api-keys/:id", admitted: "204", may: ["admin"], target: "API key" },
  {
    route: "POST /api/v1/auth/api-keys/:id/rotate",
    admitted: "200",
    may: ["admin"],
    body: NOTHING,
    target: "API key",
  },
  { route: "GET /.well-known/jwks.json", admitted: "200", may: ["all"] },
];

const CACHE_ROWS: Row[] = [
  { route: "GET /api/v1/cache/stats", admitted: "200", may: ["admin"], scope: "cache:read" },
  { route: "DELETE /api/v1/cache", admitted: "204", may: ["admin"], scope: "cache:write" },
  { route: "POST /api/v1/cache/warm", admitted: "200", may: ["admin"], scope: "cache:write" },
];

const OWN_ROWS: Row[] = [
  "/health",
  "/health/live",
  "/health/ready",
  "/health-check/liveness",
  "/health-check/readiness",
].map((path) => ({ route: `GET ${path}`, admitted: "200", may: ["all"] }));

const EVENT_ROWS: Row[] = [
  { route: "GET /api/v1/events", admitted: "200", may: ["admin"], scope: "events:read" },
  {
    route: "GET /api/v1/events/stream",
    // One that is opened does not end.
    query: "?after=nonsense",
    admitted: "400 VALIDATION_FAILED",
    may: ["admin"],
    scope: "events:read",
  },
];

const IMAGE_ROWS = ["/api/v1/users/:id", "/api/v1/profiles/:id"].flatMap((user): Row[] => {
  const write = { may: ["owner", "admin"], scope: "images:write", ...USER } as const;
  return [
    // Whoever may not is refused before the body is looked at.
    { route: `POST ${user}/images`, admitted: "415 UNSUPPORTED_MEDIA_TYPE", body: NOTHING, ...write },
    { route: `GET ${user}/images`, admitted: "200", may: ["owner", "admin"], scope: "images:read", ...USER },
    {
      route: `POST ${user}/images/uploads`,
      admitted: "201",
      body: () => ({ contentType: "image/png", bytes: 1 }),
      ...write,
    },
    {
      route: `POST ${user}/images/uploads/:uploadId/complete`,
      admitted: "404 UPLOAD_NOT_FOUND",
      ...write,
    },
    {
      route: `PUT ${user}/avatar`,
      admitted: "404 IMAGE_NOT_FOUND",
      body: () => ({ imageId: newId() }),
      ...write,
    },
    { route: `DELETE ${user}/avatar`, admitted: "204", ...write },
  ];
});

/** Of users, only the owner of an image is told that there is one. */
const ANY_USER: Pick<Row, "admitted" | "may"> = {
  admitted: "404 IMAGE_NOT_FOUND",
  may: ["owner", "other user", "admin"],
};
const ONE_IMAGE_ROWS: Row[] = [
  { route: "GET /api/v1/images/:id", scope: "images:read", ...ANY_USER },
  { route: "GET /api/v1/images/:id/content", scope: "images:read", ...ANY_USER },
  { route: "DELETE /api/v1/images/:id", scope: "images:write", ...ANY_USER },
];

const SIGNED_ROWS: Row[] = [
  { route: "GET /api/v1/uploads/:uploadId", admitted: "405 METHOD_NOT_ALLOWED", may: ["all"] },
  { route: "GET /media/:hash/:file", admitted: "404 IMAGE_NOT_FOUND", may: ["all"] },
  { route: "GET /media/private/:hash/:file", admitted: "404 IMAGE_NOT_FOUND", may: ["all"] },
];

const ROWS = [
  ...IMAGE_ROWS,
  ...ONE_IMAGE_ROWS,
  ...SIGNED_ROWS,
  ...USER_ROWS,
  ...EVENT_ROWS,
  ...AUTH_ROWS,
  ...CACHE_ROWS,
  ...OWN_ROWS,
];

let nodes: TestNodes;
/** Has no services; its calls are made by a service principal. */
let system: ServiceBroker;
let url: string;
let client: RestClient;
/** The tokens and keys of those callers who do not depend on the route. */
let fixed: Readonly<Record<"admin" | "suspended" | "expired" | "forged", string>>;
const keys = new Map<string, string>();

beforeAll(async () => {
  nodes = await startTestNodes();
  await nodes.start({ SERVICES: "users,events,images,cache" });
  await nodes.start({ SERVICES: "auth", ...ADMIN_SETTINGS });
  const gateway = await nodes.start({ SERVICES: "api" });
  ({ broker: system } = await nodes.start({ SERVICES: "none" }));
  url = `http://127.0.0.1:${portOf(gateway.broker)}`;
  client = new RestClient(url, { maxSockets: 10 });
  const admin = { id: newId(), role: "admin" } as const;
  const { privateKey } = generateKeyPairSync("ed25519");
  const ours = signingKey(TEST_AUTH_KEY);
  fixed = {
    admin: await logIn(url, ADMIN),
    suspended: await suspendedAdminToken(),
    expired: await signToken(ours, admin, { expiresInSeconds: -60 }),
    // With the id of our key.
    forged: await signToken({ ...ours, privateKey }, admin),
  };
});

afterAll(async () => {
  client.close();
  await nodes.stop();
});

/** A token of an admin who was suspended after the login. */
async function suspendedAdminToken(): Promise<string> {
  const login = { email: newUser().email, password: "the password of the suspended" };
  const { id } = await call(system, "users.create", newUser({ email: login.email }));
  await call(system, "users.update", { id, role: "admin" });
  await call(system, "auth.setPassword", { userId: id, password: login.password });
  const token = await logIn(url, login);
  await call(system, "users.suspend", { id });
  const isRefused = async (): Promise<boolean> =>
    (await sendAs(token, "GET /api/v1/auth/me")) === "401 INVALID_TOKEN";
  await waitFor(isRefused, { description: "the end of the sessions to be known" });
  return token;
}

async function keyWith(scopes: readonly Scope[]): Promise<string> {
  const name = scopes.join(" ");
  let key = keys.get(name);
  if (key === undefined) {
    const admin = as({ kind: "user", id: newId(), role: "admin" });
    ({ key } = await call(system, "auth.createApiKey", { name: "matrix", scopes: [...scopes] }, admin));
    keys.set(name, key);
  }
  return key;
}

/** The credential of a caller on a route that is about the user `id`. */
async function credentialOf(caller: Caller, { scope }: Row, id: string): Promise<string | undefined> {
  if (caller === "nobody") return undefined;
  const user = (userId: string, role: Role = "user") =>
    signToken(signingKey(TEST_AUTH_KEY), { id: userId, role });
  if (caller === "owner") return user(id);
  if (caller === "other user") return user((await call(system, "users.create", newUser())).id);
  if (caller === "key with the scope") return keyWith(!scope || scope === "any" ? SCOPES : [scope]);
  if (caller === "key without the scope") return keyWith(SCOPES.filter((each) => each !== scope));
  return fixed[caller];
}

function expectedOf(caller: Caller, { may, scope, admitted }: Row): string {
  if (may.includes("all")) return admitted;
  if (caller === "nobody") return "401 UNAUTHENTICATED";
  if (caller === "suspended" || caller === "expired" || caller === "forged") return "401 INVALID_TOKEN";
  const isAdmitted =
    caller === "key with the scope"
      ? scope !== undefined
      : caller === "key without the scope"
        ? scope === "any"
        : may.includes(caller);
  return isAdmitted ? admitted : "403 FORBIDDEN";
}

/** Sends a request and says what came of it: "200", or "403 FORBIDDEN". */
async function sendAs(credential: string | undefined, route: string, body?: object): Promise<string> {
  const [method = "", path = ""] = route.split(" ");
  const response = await client.request(method, path, {
    headers: credential === undefined ? {} : { authorization: `Bearer ${credential}` },
    ...(body && { body }),
  });
  const { status, headers, text } = response;
  // RFC 9110, 15.5.2: a 401 always says how to authenticate.
  assert.equal(status === 401 && !headers["www-authenticate"]?.startsWith('Bearer realm="rollcall"'), false);
  return status < 400 ? String(status) : `${status} ${(JSON.parse(text) as { code: string }).code}`;
}

/** Makes what a route is about. The id of the owner is that of the target where that is a user. */
async function prepare({ target }: Row): Promise<{ targetId: string; ownerId: string }> {
  const { id } = await call(system, "users.create", newUser());
  if (target === "API key") {
    const admin = as({ kind: "user", id: newId(), role: "admin" });
    const key = await call(system, "auth.createApiKey", { name: "target", scopes: ["users:read"] }, admin);
    return { targetId: key.id, ownerId: id };
  }
  if (target === "deleted user") await call(system, "users.delete", { id });
  if (target === "suspended user") await call(system, "users.suspend", { id });
  return { targetId: id, ownerId: id };
}

async function outcomesOf(row: Row, isWarm: boolean): Promise<Record<string, string>> {
  const outcomes: Record<string, string> = {};
  for (const caller of CALLERS) {
    const { targetId, ownerId } = await prepare(row);
    const credential = await credentialOf(caller, row, ownerId);
    const path = row.route.replace(":id", targetId).replace(":uploadId", newId());
    const route = path + (row.query ?? "");
    if (isWarm) await sendAs(fixed.admin, route, row.body?.());
    outcomes[caller] = await sendAs(credential, route, row.body?.());
  }
  return outcomes;
}

describe.each(ROWS)("$route", (row) => {
  const expected = Object.fromEntries(CALLERS.map((caller) => [caller, expectedOf(caller, row)]));

  test("lets in who may, and nobody else", async () => {
    expect(await outcomesOf(row, false)).toEqual(expected);
  });

  if (row.route.startsWith("GET ")) {
    test("does so too when the answer is cached", async () => {
      expect(await outcomesOf(row, true)).toEqual(expected);
    });
  }
});

describe("the matrix", () => {
  test("has a row for every route that there is", () => {
    const routes = REST_ROUTES.map(({ method, path }) => `${method} ${path}`);
    const paths = Object.keys(PATH_ACCESS).map((path) => `GET ${path}`);
    expect(ROWS.map(({ route }) => route).toSorted()).toEqual([...routes, ...paths].toSorted());
  });

  test("has nothing of actions without a route: those are not on the network of the clients", async () => {
    const routed = new Set<string>(REST_ROUTES.map(({ action }) => action));
    const internal = Object.keys(ACTION_ACCESS).filter((action) => !routed.has(action));
    for (const action of internal) {
      const path = `/${action.replace(".", "/")}`;
      expect(await sendAs(fixed.admin, `GET ${path}`)).toBe("404 ROUTE_NOT_FOUND");
    }
  });
});

test("a token that is forged, in any of many ways, opens no route", async () => {
  const outcomes = Object.entries(FORGED_TOKENS).map(async ([name, token]) => [
    name,
    await sendAs(token, "GET /api/v1/users"),
  ]);
  const names = Object.keys(FORGED_TOKENS);
  expect(names.length).toBeGreaterThan(70);
  expect(await Promise.all(outcomes)).toEqual(names.map((name) => [name, "401 INVALID_TOKEN"]));
});

describe("an id of somebody else", () => {
  test("is refused alike to a user, whether or not it is anybody's or an id at all", async () => {
    const { ownerId } = await prepare({ route: "", admitted: "", may: [] });
    const token = await signToken(signingKey(TEST_AUTH_KEY), { id: newId(), role: "user" });
    for (const id of [ownerId, newId(), "nonsense"]) {
      expect(await sendAs(token, `GET /api/v1/users/${id}`)).toBe("403 FORBIDDEN");
      expect(await sendAs(token, `DELETE /api/v1/users/${id}`)).toBe("403 FORBIDDEN");
    }
    expect(await sendAs(fixed.admin, `GET /api/v1/users/${newId()}`)).toBe("404 USER_NOT_FOUND");
  });
});
