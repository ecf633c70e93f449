import { randomBytes } from "node:crypto";

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";

import { logIn } from "../support/admin.ts";
import { newUser, RestClient, type RestResponse } from "../support/rest-client.ts";
import { startCluster, type Cluster } from "../support/rollcall-cluster.ts";
import { untilLogged } from "../support/rollcall-process.ts";
import { TEST_AUTH_KEY } from "../support/test-tokens.ts";

/*
 * What is secret is planted wherever a client can put it, and then looked for in all that leaves the system or is kept
 * by it.
 */

const AUTH = "/api/v1/auth";

const secret = (): string => randomBytes(18).toString("base64url");

const ADMIN = { email: "admin@example.com", password: secret() };
const PLANTED: Record<string, string> = {
  "key of access tokens": TEST_AUTH_KEY,
  "password of the admin": ADMIN.password,
  "next password": secret(),
  "wrong password": secret(),
  "password that is too long": `${secret()}${"x".repeat(300)}`,
  "refresh token that is none": secret(),
  "bearer token that is none": secret(),
  "JWT that is none": ['{"alg":"none"}', '{"sub":"x"}', secret()].map((part) => btoa(part)).join("."),
  "API key that is none": `rk_0123456789ab_${secret()}`,
  "credentials of another scheme": btoa(`ada:${secret()}`),
};

let cluster: Cluster;
let client: RestClient;
/** Answers that may hold no secret at all. */
const answers: RestResponse[] = [];

beforeAll(async () => {
  cluster = await startCluster(
    { LOG_LEVEL: "trace", ADMIN_EMAIL: ADMIN.email, ADMIN_PASSWORD: ADMIN.password },
    ADMIN,
  );
  client = new RestClient(cluster.url);
});

afterAll(async () => {
  client.close();
  await cluster.stop();
});

test("no secret is in a log, an error, an event, an idempotency record, or the health of the system", async () => {
  const issued = await useEverySecret();
  answers.push(await client.get("/health"), await client.get("/.well-known/jwks.json"));
  const requestId = "the-last-request";
  await client.get("/health/live", { "x-request-id": requestId });
  await untilLogged(cluster.gateway, { requestId });

  const statuses = answers.map(({ status }) => status);
  // As they are sent below: all right, then all wrong, then the second use of a refresh token and the last three.
  const expected =
    "200 200 200 200  401 400 400 400 401 400 400 401 401 401 401 401 400 400  401 204 200 200";
  expect(statuses).toEqual(expected.split(/ +/).map(Number));

  const places: Record<string, string> = {
    ...Object.fromEntries(cluster.nodes.map((node, index) => [`log of node ${index}`, node.output])),
    answers: answers.map(({ headers, text }) => JSON.stringify(headers) + text).join("\n"),
    ...(await storedTexts()),
  };
  const secrets = Object.entries({ ...PLANTED, ...issued });
  const leaks = Object.entries(places).flatMap(([place, text]) =>
    secrets.filter(([, value]) => text.includes(value)).map(([name]) => `${name} in ${place}`),
  );

  expect(leaks).toEqual([]);
  // Looked for in texts that have something in them.
  for (const [place, text] of Object.entries(places)) expect([place, text.length]).not.toEqual([place, 0]);
  expect(places["log of node 0"]).toContain("/api/v1/auth/login");
});

/** Sends each of the secrets, and gets some more. */
async function useEverySecret(): Promise<Record<string, string>> {
  const { json } = await client.post(`${AUTH}/login`, ADMIN);
  const first = json as { accessToken: string; refreshToken: string };
  const refreshed = await client.post(`${AUTH}/refresh`, { refreshToken: first.refreshToken });
  const { accessToken, refreshToken } = refreshed.json as typeof first;
  const asAdmin = { authorization: `Bearer ${accessToken}` };
  const created = await client.post(
    `${AUTH}/api-keys`,
    { name: "backend", scopes: ["users:read", "users:write"] },
    { ...asAdmin, "idempotency-key": "create-key" },
  );
  const { id, key } = created.json as { id: string; key: string };
  const rotated = await client.post(`${AUTH}/api-keys/${id}/rotate`, {}, asAdmin);
  const { key: nextKey } = rotated.json as { key: string };

  const user = await client.post("/api/v1/users", newUser(), { authorization: `Bearer ${nextKey}` });
  const path = user.headers.location ?? "";
  answers.push(
    await client.get(`${AUTH}/me`, asAdmin),
    await client.get(`${AUTH}/api-keys`, asAdmin),
    await client.patch(path, { nickname: "x" }, { "x-api-key": key }),
    await client.get(path, { "x-api-key": nextKey }),
    ...(await refusals(asAdmin)),
    // Ends the session.
    await client.post(`${AUTH}/refresh`, { refreshToken: first.refreshToken }),
  );
  const change = { currentPassword: ADMIN.password, newPassword: PLANTED["next password"] };
  const next = await logIn(cluster.url, ADMIN);
  answers.push(await client.post(`${AUTH}/password`, change, { authorization: `Bearer ${next}` }));
  return {
    "access token": accessToken,
    "access token after the change": next,
    "refresh token": first.refreshToken,
    "next refresh token": refreshToken,
    "API key": key,
    "rotated API key": nextKey,
  };
}

/** Answers to secrets that are wrong, or where they do not belong. */
async function refusals(asAdmin: Record<string, string>): Promise<RestResponse[]> {
  const of = (name: string): string => PLANTED[name] ?? "";
  const { email } = ADMIN;
  return Promise.all([
    client.post(`${AUTH}/login`, { email, password: of("wrong password") }),
    client.post(`${AUTH}/login`, { email, password: of("password that is too long") }),
    client.post(`${AUTH}/login`, { email, password: of("wrong password"), secret: of("next password") }),
    client.post(`${AUTH}/login`, `{"email":"${email}","password":"${of("wrong password")}`, {
      "content-type": "application/json",
    }),
    client.post(`${AUTH}/refresh`, { refreshToken: of("refresh token that is none") }),
    client.post(`${AUTH}/password`, { currentPassword: of("wrong password"), newPassword: "short" }, asAdmin),
    client.post("/api/v1/users", newUser({ password: [of("wrong password")] }), asAdmin),
    client.get(`${AUTH}/me`, { authorization: `Bearer ${of("bearer token that is none")}` }),
    client.get(`${AUTH}/me`, { authorization: `Bearer ${of("JWT that is none")}` }),
    client.get(`${AUTH}/me`, { authorization: `Bearer ${of("API key that is none")}` }),
    client.get(`${AUTH}/me`, { "x-api-key": of("API key that is none") }),
    client.get(`${AUTH}/me`, { authorization: `Basic ${of("credentials of another scheme")}` }),
    client.get(`${AUTH}/me`, { ...asAdmin, "x-api-key": of("API key that is none") }),
    client.get(`/api/v1/users?token=${of("bearer token that is none")}`, asAdmin),
  ]);
}

/** All that is kept in the database, by table. */
async function storedTexts(): Promise<Record<string, string>> {
  const database = new pg.Client(cluster.postgres.url);
  await database.connect();
  try {
    const tables = await database.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
       WHERE schemaname IN ('users', 'auth', 'events')`,
    );
    const texts: Record<string, string> = {};
    for (const { name } of tables.rows) {
      const { rows } = await database.query<{ row: string }>(`SELECT t::text AS row FROM ${name} AS t`);
      if (rows.length > 0) texts[name] = rows.map(({ row }) => row).join("\n");
    }
    return texts;
  } finally {
    await database.end();
  }
}
