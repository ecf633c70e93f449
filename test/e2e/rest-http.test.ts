import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { adminClient } from "../support/admin.ts";
import { problemOf } from "../support/problems.ts";
import { newUser, type RestClient, type RestResponse } from "../support/rest-client.ts";
import { startRollcall, untilLogged, type Rollcall } from "../support/rollcall-process.ts";
import { waitFor } from "../support/wait-for.ts";

const USERS = "/api/v1/users";
const APP = "https://app.example.com";
const UUID = /^[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}$/;

let node: Rollcall;
let client: RestClient;

beforeAll(async () => {
  node = await startRollcall({ env: { CORS_ORIGINS: `${APP}, https://admin.example.com:8443` } });
  client = await adminClient(node.url);
});

afterAll(async () => {
  client.close();
  await node.stop();
});

describe("a request id", () => {
  test.each(["abc", "01HXYZ.a_b-c", "a".repeat(128)])("that is good is kept: %s", async (id) => {
    const success = await client.get(USERS, { "x-request-id": id });
    const failure = await client.get(`${USERS}/1`, { "x-request-id": id });

    expect(success.headers["x-request-id"]).toBe(id);
    expect(failure.headers["x-request-id"]).toBe(id);
    expect(problemOf(failure).requestId).toBe(id);
    expect(await untilLogged(node, { requestId: id, status: 400 })).toMatchObject({ msg: "request" });
  });

  test.each(["", "a b", "a".repeat(129), "<script>", "é", '{"a":1}', "a,b"])(
    "that is bad is replaced: %s",
    async (id) => {
      const response = await client.get(`${USERS}/1`, { "x-request-id": id });

      expect(response.headers["x-request-id"]).toMatch(UUID);
      expect(problemOf(response).requestId).toBe(response.headers["x-request-id"]);
    },
  );

  test("that is not given is made, another one for each request", async () => {
    const ids = await Promise.all([1, 2].map(async () => (await client.get(USERS)).headers["x-request-id"]));

    expect(ids[0]).toMatch(UUID);
    expect(ids[1]).toMatch(UUID);
    expect(ids[0]).not.toBe(ids[1]);
  });
});

describe("an origin", () => {
  const corsHeaders = (headers: object) =>
    Object.keys(headers).filter((name) => name.startsWith("access-control-"));

  test.each([APP, "https://admin.example.com:8443"])(
    "that is configured may read answers and errors: %s",
    async (origin) => {
      for (const path of [USERS, `${USERS}/1`, "/nothing"]) {
        const { headers } = await client.get(path, { origin });

        expect(headers["access-control-allow-origin"]).toBe(origin);
        expect(headers["access-control-expose-headers"]).toMatch(/ETag.*Link.*X-Request-Id/);
        expect(headers.vary).toMatch(/\bOrigin\b/);
      }
    },
  );

  test.each([
    "https://app.example.co",
    "https://app.example.com.evil.example",
    "https://evil.example/https://app.example.com",
    "http://app.example.com",
    "https://app.example.com:444",
    "https://APP.example.com",
    "https://example.com",
    "https://admin.example.com",
    "null",
    "*",
    "",
  ])("that is not configured gets no CORS headers: %s", async (origin) => {
    const answer = await client.get(USERS, { origin });
    const preflight = await client.request("OPTIONS", USERS, {
      headers: { origin, "access-control-request-method": "POST" },
    });

    expect(corsHeaders(answer.headers)).not.toContain("access-control-allow-origin");
    expect(corsHeaders(preflight.headers)).not.toContain("access-control-allow-origin");
  });

  test("never gets leave to send cookies", async () => {
    const { headers } = await client.get(USERS, { origin: APP });

    expect(headers["access-control-allow-credentials"]).toBeUndefined();
  });

  test("learns from a preflight which methods and headers it may send", async () => {
    const { status, headers, bytes } = await client.request("OPTIONS", `${USERS}/1`, {
      headers: {
        origin: APP,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "content-type,if-match,idempotency-key",
      },
    });

    expect(status).toBe(204);
    expect(bytes).toHaveLength(0);
    expect(headers).toMatchObject({
      "access-control-allow-origin": APP,
      "access-control-allow-methods": "GET,HEAD,POST,PUT,PATCH,DELETE",
      "access-control-allow-headers": "content-type,if-match,idempotency-key",
      "access-control-max-age": "600",
    });
  });
});

describe("security headers", () => {
  test.each([USERS, `${USERS}/1`, "/nothing", "/health"])("come with every answer: %s", async (path) => {
    const { headers } = await client.get(path);

    expect(headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "x-frame-options": "SAMEORIGIN",
      "content-security-policy": "default-src 'none';frame-ancestors 'none'",
      "referrer-policy": "no-referrer",
      "strict-transport-security": expect.stringMatching(/^max-age=\d+/),
    });
    expect(headers["x-powered-by"]).toBeUndefined();
    expect(headers["server"]).toBeUndefined();
  });
});

describe("health", () => {
  test.each(["/health", "/health/ready", "/health-check/readiness"])(
    "of everything it needs is told by %s",
    async (path) => {
      // A busy machine may have been too slow for a check.
      const isUp = async () => {
        const response = await client.get(path);
        return (response.json as { status: string }).status === "up" && response;
      };
      const { status, headers, json } = (await waitFor(isUp, {
        description: "all to be up",
      })) as RestResponse;

      const up = { status: "up", latencyMs: expect.any(Number) };
      expect(status).toBe(200);
      expect(headers["cache-control"]).toBe("no-store");
      expect(json).toEqual({
        status: "up",
        dependencies: { users: up, auth: up, postgresql: up, storage: up },
      });
    },
  );

  test.each(["/health/live", "/health-check/liveness"])(
    "of the process itself is told by %s",
    async (path) => {
      const { status, json } = await client.get(path);

      expect(status).toBe(200);
      expect(json).toEqual({ status: "up" });
    },
  );
});

describe("what is not public", () => {
  test.each([
    "/",
    "/api",
    "/api/v1",
    "/api/list-aliases",
    "/list-aliases",
    "/$node/list",
    "/$node/health",
    "/~node/health",
    "/~node/options",
    "/api/~node/health",
    "/api/v1/$node/services",
    "/api/v1/~node/actions",
    "/api/rest",
    "/api/users/list",
    "/users/list",
    "/api/v1/users.list",
    "/api/v1/users/getByEmail/now",
    "/api/v1/users.health",
    "/metrics",
    "/../package.json",
    "/.env",
  ])("is not found: %s", async (path) => {
    const statuses = await Promise.all(["GET", "POST"].map(async (method) => client.request(method, path)));

    expect(statuses.map((response) => problemOf(response).code)).toEqual([
      "ROUTE_NOT_FOUND",
      "ROUTE_NOT_FOUND",
    ]);
  });

  test("is which actions exist behind a path that looks like an id", async () => {
    expect(problemOf(await client.get(`${USERS}/getByEmail`)).code).toBe("VALIDATION_FAILED");
    expect(problemOf(await client.get(`${USERS}/health`)).code).toBe("VALIDATION_FAILED");
  });
});

test("forwarded headers of a client change nothing", async () => {
  const forged = {
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "https",
    "x-forwarded-prefix": "/evil",
    "x-original-url": "/health/live",
    "x-http-method-override": "DELETE",
    forwarded: "for=10.0.0.1;host=evil.example;proto=https",
  };

  const { status, headers, json } = await client.post(USERS, newUser(), forged);
  const list = await client.get(`${USERS}?limit=1`, forged);

  const { id } = json as { id: string };
  expect(status).toBe(201);
  expect(headers.location).toBe(`${USERS}/${id}`);
  expect(list.headers.link).toMatch(/^<\/api\/v1\/users\?limit=1>; rel="first"/);
  expect(JSON.stringify([headers, list.headers, node.log])).not.toMatch(/evil|10\.0\.0\.1/);
});

test("the log has one line for each request, without the query, which may hold personal data", async () => {
  await client.get(`${USERS}?email=grace@example.com`, { "x-request-id": "with-query" });
  await client.get("/health/live", { "x-request-id": "the-next" });
  await untilLogged(node, { requestId: "the-next" });

  expect(node.log.filter(({ requestId }) => requestId === "with-query")).toEqual([
    expect.objectContaining({
      level: "info",
      method: "GET",
      path: USERS,
      status: 200,
      durationMs: expect.any(Number),
    }),
  ]);
  expect(node.output).not.toContain("grace@example.com");
});
