import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { PROCESS_PATIENCE } from "../support/patience.ts";
import { problemOf } from "../support/problems.ts";
import { newUser, RestClient, type RestResponse } from "../support/rest-client.ts";
import { startCluster, untilReady, type Cluster } from "../support/rollcall-cluster.ts";
import { parseList } from "../support/structured-fields.ts";
import { waitFor } from "../support/wait-for.ts";

const USERS = "/api/v1/users";
const SETTINGS = {
  RATE_LIMIT: "on",
  RATE_LIMIT_SIGN_UP: "100/1h",
  RATE_LIMIT_LOGIN: "20/1h",
  RATE_LIMIT_WRONG_PASSWORDS: "5/1h",
  RATE_LIMIT_WRONG_CREDENTIALS: "10/1h",
  TRUST_PROXY: "1",
};

let cluster: Cluster;
/** Four gateways that count together, however slow the machine is. */
let gateways: RestClient[];
/** One that gives Redis no more time than it has by default. */
let impatient: RestClient;

beforeAll(async () => {
  cluster = await startCluster({ SIGNUP: "open", ...PROCESS_PATIENCE });
  const start = async (env: Record<string, string> = {}): Promise<RestClient> => {
    const { url } = await cluster.addGateway({ ...SETTINGS, ...env });
    await untilReady(url);
    return new RestClient(url);
  };
  const together = { REDIS_TIMEOUT_MS: "5000" };
  [impatient, ...gateways] = await Promise.all([
    start(),
    ...Array.from({ length: 4 }, () => start(together)),
  ]);
  await untilAllSay("up");
});

afterAll(async () => {
  for (const client of [impatient, ...gateways]) client.close();
  await cluster.stop();
});

/** Waits until all gateways say so of Redis. */
async function untilAllSay(status: "up" | "down"): Promise<void> {
  const isSaidBy = async (gateway: RestClient): Promise<boolean> => {
    const { json } = await gateway.get("/health");
    return (json as { dependencies: { redis: { status: string } } }).dependencies.redis.status === status;
  };
  for (const gateway of gateways)
    await waitFor(() => isSaidBy(gateway), { description: `Redis to be ${status}` });
}

/** Sign-ups at one gateway, at once, each of which a proxy says is from this address. */
function signUps(gateway: RestClient, count: number, address: string): Promise<RestResponse[]> {
  return Promise.all(
    Array.from({ length: count }, (_, index) =>
      // What the client itself claims to be differs each time.
      gateway.post(USERS, newUser(), { "x-forwarded-for": `203.0.113.${index}, ${address}` }),
    ),
  );
}

function statusesOf(responses: readonly RestResponse[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const { status } of responses) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

test("of 400 requests to four gateways at once exactly as many pass as the limit says, whatever X-Forwarded-For says", async () => {
  const responses = await Promise.all(gateways.map((gateway) => signUps(gateway, 100, "198.51.100.1")));
  expect(statusesOf(responses.flat())).toEqual({ 201: 100, 429: 300 });

  // Another client is not concerned.
  const [other] = gateways;
  expect(statusesOf(await signUps(other as RestClient, 5, "198.51.100.2"))).toEqual({ 201: 5 });
});

test("a refusal is a problem document that says when to come again", async () => {
  const [gateway] = gateways as [RestClient];
  const responses = await signUps(gateway, 101, "198.51.100.3");
  const refused = responses.find(({ status }) => status === 429) as RestResponse;

  expect(problemOf(refused)).toMatchObject({ status: 429, code: "RATE_LIMITED", retryable: true });
  const { "retry-after": retryAfter, ratelimit, "ratelimit-policy": policy } = refused.headers;
  expect(Number(retryAfter)).toBeGreaterThan(0);
  expect(parseList(String(policy))).toEqual([{ value: "sign-up", parameters: { q: 100, w: 3600 } }]);
  expect(parseList(String(ratelimit))).toEqual([
    { value: "sign-up", parameters: { r: 0, t: Number(retryAfter) } },
  ]);
});

test("neither health nor what browsers ask before a request is counted", async () => {
  const [gateway] = gateways as [RestClient];
  const responses = await Promise.all([
    ...Array.from({ length: 150 }, () => gateway.get("/health/live")),
    ...Array.from({ length: 150 }, () => gateway.request("OPTIONS", USERS)),
  ]);
  expect(statusesOf(responses)).toEqual({ 200: 150, 204: 150 });
  for (const { headers } of responses) expect(headers).not.toHaveProperty("ratelimit");
});

/** The nth request goes to a gateway by turns. */
function gatewayFor(index: number): RestClient {
  return gateways[index % gateways.length] as RestClient;
}

describe("guessing", () => {
  const LOGIN = "/api/v1/auth/login";
  const password = "correct horse battery staple";

  test("the password of one account is stopped, from however many addresses, and no other account's", async () => {
    const [one, other] = await Promise.all(
      [newUser({ password }), newUser({ password })].map(async (user) => {
        const created = await gatewayFor(0).post(USERS, user, { "x-forwarded-for": "198.51.100.10" });
        expect(created.status).toBe(201);
        return user.email;
      }),
    );
    const guess = (index: number): Promise<RestResponse> =>
      gatewayFor(index).post(
        LOGIN,
        { email: one, password: `wrong password ${index}` },
        { "x-forwarded-for": `192.0.2.${index}` },
      );
    const guesses = await Promise.all(Array.from({ length: 40 }, (_, index) => guess(index)));
    expect(statusesOf(guesses)).toEqual({ 401: 5, 429: 35 });

    const from = { "x-forwarded-for": "192.0.2.200" };
    expect((await gatewayFor(1).post(LOGIN, { email: one, password }, from)).status).toBe(429);
    expect((await gatewayFor(1).post(LOGIN, { email: other, password }, from)).status).toBe(200);
  });

  test("one password for many accounts is stopped by address", async () => {
    const guess = (index: number): Promise<RestResponse> =>
      gatewayFor(index).post(
        LOGIN,
        { email: newUser().email, password },
        { "x-forwarded-for": `203.0.113.${index}, 198.51.100.11` },
      );
    const guesses: RestResponse[] = [];
    // Four at a time: more passwords than a slow machine can check soon would be refused for that.
    while (guesses.length < 60) {
      const next = Array.from({ length: 4 }, (_, index) => guess(guesses.length + index));
      guesses.push(...(await Promise.all(next)));
    }
    expect(statusesOf(guesses)).toEqual({ 401: 20, 429: 40 });
  });

  test("an account that is not there is answered and limited as one that is", async () => {
    const email = newUser().email;
    const responses: RestResponse[] = [];
    for (let index = 0; index < 7; index += 1) {
      const from = { "x-forwarded-for": `192.0.2.${100 + index}` };
      responses.push(await gatewayFor(index).post(LOGIN, { email, password }, from));
    }
    expect(statusesOf(responses)).toEqual({ 401: 5, 429: 2 });
  });

  test("with what would take minutes to bring into the form of an address is refused at once", async () => {
    // Each mark has to find its place among those before it (Unicode, canonical ordering).
    const email = `a${"\u0301".repeat(200_000)}${"\u0316".repeat(200_000)}`;
    const from = { "x-forwarded-for": "198.51.100.13" };
    const refusal = problemOf(await gatewayFor(0).post(LOGIN, { email, password }, from));
    expect(refusal).toMatchObject({ status: 400, code: "VALIDATION_FAILED" });
  });

  test("tokens and API keys is stopped by address, which shuts out no one whose token is good", async () => {
    const from = { "x-forwarded-for": "198.51.100.12" };
    const guess = (index: number): Promise<RestResponse> => {
      const credential = index % 2 === 0 ? "Bearer a.b.c" : `Bearer rk_${index}_guess`;
      return gatewayFor(index).get(`${USERS}?limit=1`, { authorization: credential, ...from });
    };
    const guesses = await Promise.all(Array.from({ length: 40 }, (_, index) => guess(index)));
    expect(statusesOf(guesses)).toEqual({ 401: 10, 429: 30 });

    const authorization = `Bearer ${cluster.token}`;
    expect((await gatewayFor(0).get(`${USERS}?limit=1`, { authorization, ...from })).status).toBe(200);
  });
});

describe("Redis", () => {
  test("frozen, holds no request up, and each gateway limits by itself", async () => {
    cluster.redis.freeze();
    try {
      expect(statusesOf(await signUps(impatient, 60, "198.51.100.4"))).toEqual({ 201: 60 });
      expect(statusesOf(await signUps(impatient, 60, "198.51.100.4"))).toEqual({ 201: 40, 429: 20 });
    } finally {
      cluster.redis.thaw();
    }
  });

  test("killed, costs no request; when it is back the gateways count together again", async () => {
    await cluster.redis.kill();
    const [first, second] = gateways as [RestClient, RestClient];
    expect(statusesOf(await signUps(first, 110, "198.51.100.5"))).toEqual({ 201: 100, 429: 10 });
    expect(statusesOf(await signUps(second, 110, "198.51.100.5"))).toEqual({ 201: 100, 429: 10 });

    // Else it could still be the Redis of before that is up.
    await untilAllSay("down");
    await cluster.redis.restart();
    await untilAllSay("up");
    const responses = await Promise.all(gateways.map((gateway) => signUps(gateway, 50, "198.51.100.6")));
    expect(statusesOf(responses.flat())).toEqual({ 201: 100, 429: 100 });
  });
});
