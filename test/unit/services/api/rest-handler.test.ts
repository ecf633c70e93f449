import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";

import { startTestGateway, type TestGateway } from "../../../support/test-gateway.ts";

const USER = { id: "1", version: 3, email: "ada@example.com" };
const BODY = { email: "ada@example.com", firstName: "Ada", lastName: "Lovelace" };
const ORIGIN = "https://app.example.com";

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway(
    {
      "users.create": USER,
      "users.get": USER,
      "users.replace": USER,
      "users.update": USER,
      "users.restore": USER,
      "users.delete": null,
      "users.list": { data: [USER], nextCursor: "next" },
    },
    { CORS_ORIGINS: ORIGIN },
  );
});

beforeEach(() => {
  gateway.calls.length = 0;
});

afterAll(() => gateway.stop());

const lastCall = () => gateway.calls.at(-1);

describe("the parameters of a read", () => {
  test("are those of the query and of the path", async () => {
    await gateway.client.get("/api/v1/users?country=DE&q=a+b%20c");
    expect(lastCall()).toMatchObject({ action: "users.list", params: { country: "DE", q: "a b c" } });
    await gateway.client.get("/api/v1/users/17?fields=id");
    expect(lastCall()).toMatchObject({ action: "users.get", params: { id: "17", fields: "id" } });
  });

  test.each(["id=2", "expectedVersions=1"])(
    "may not be what only path and headers say: %s",
    async (query) => {
      const response = await gateway.client.get(`/api/v1/users/1?${query}`);
      const [field] = query.split("=");
      expect(response.json).toMatchObject({
        code: "VALIDATION_FAILED",
        errors: [{ field, rule: "unknown" }],
      });
      expect(gateway.calls).toEqual([]);
    },
  );
});

describe("the parameters of a write", () => {
  test("are those of the body and of the path", async () => {
    await gateway.client.patch("/api/v1/users/17", { nickname: null });
    expect(lastCall()).toEqual(
      expect.objectContaining({ action: "users.update", params: { id: "17", nickname: null } }),
    );
  });

  test.each([
    ["POST", "/api/v1/users", BODY],
    ["PUT", "/api/v1/users/1", BODY],
    ["PATCH", "/api/v1/users/1", {}],
    ["DELETE", "/api/v1/users/1", undefined],
    ["POST", "/api/v1/users/1/restore", undefined],
  ])("may not be in the query: %s %s", async (method, path, body) => {
    const response = await gateway.client.request(method, `${path}?nickname=x&dry=1`, {
      ...(body && { body }),
    });
    expect(response.status).toBe(400);
    expect(response.json).toMatchObject({ errors: [{ field: "nickname" }, { field: "dry" }] });
    expect(gateway.calls).toEqual([]);
  });

  test.each(["id", "expectedVersions"])("may not be what only path and headers say: %s", async (field) => {
    const response = await gateway.client.patch("/api/v1/users/1", { [field]: "2" });
    expect(response.json).toMatchObject({ code: "VALIDATION_FAILED", errors: [{ field, rule: "unknown" }] });
    expect(gateway.calls).toEqual([]);
  });

  test("must come with a body where there is one to come", async () => {
    const response = await gateway.client.post("/api/v1/users", undefined);
    expect(response.json).toMatchObject({ code: "MALFORMED_BODY", detail: "A body is required." });
  });
});

describe("the headers of a request", () => {
  test("say which versions a write expects", async () => {
    await gateway.client.patch("/api/v1/users/1", {}, { "if-match": '"3", W/"4", "5-xml"' });
    expect(lastCall()?.params).toEqual({ id: "1", expectedVersions: [3, 5] });
    await gateway.client.patch("/api/v1/users/1", {}, { "if-match": "*" });
    expect(lastCall()?.params).toEqual({ id: "1" });
  });

  test("say no versions to a create, which has none", async () => {
    await gateway.client.post("/api/v1/users", BODY, { "if-match": '"3"' });
    expect(lastCall()?.params).toEqual(BODY);
  });

  test("hand the idempotency key on to a write", async () => {
    await gateway.client.post("/api/v1/users", BODY, { "idempotency-key": "order-4711" });
    expect(lastCall()?.headers).toEqual({ "idempotency-key": "order-4711" });
  });

  test.each(["no-cache", "No-Cache", "max-age=0, no-cache", "no-cache,no-store"])(
    "have a read go past the cache with Cache-Control: %s",
    async (directives) => {
      await gateway.client.get("/api/v1/users/1", { "cache-control": directives });
      expect(lastCall()?.meta).toMatchObject({ $cache: false });
    },
  );

  test.each(["max-age=0", "x-no-cache", "no-cache-please"])(
    "have a read use the cache with Cache-Control: %s",
    async (directives) => {
      await gateway.client.get("/api/v1/users/1", { "cache-control": directives });
      expect(lastCall()?.meta).not.toHaveProperty("$cache");
    },
  );

  test("do not set metadata of the call", async () => {
    await gateway.client.get("/api/v1/users/1", { actor: "admin", $cache: "false", "x-meta-actor": "admin" });
    expect(lastCall()?.meta).not.toHaveProperty("actor");
  });
});

describe("a response", () => {
  test("varies by all that it depends on", async () => {
    const { headers } = await gateway.client.get("/api/v1/users/1", { origin: ORIGIN });
    expect(headers["access-control-allow-origin"]).toBe(ORIGIN);
    expect(headers.vary?.split(/, */)).toEqual(expect.arrayContaining(["Origin", "Accept"]));
  });

  test("of a page links to the first and the next one with the same filters", async () => {
    const { headers } = await gateway.client.get("/api/v1/users?cursor=old&country=DE&q=%C3%A9+%26");
    expect(headers.link).toBe(
      '</api/v1/users?country=DE&q=%C3%A9+%26>; rel="first", ' +
        '</api/v1/users?country=DE&q=%C3%A9+%26&cursor=next>; rel="next"',
    );
  });

  test("has a tag for each format", async () => {
    const json = await gateway.client.get("/api/v1/users/1");
    const xml = await gateway.client.get("/api/v1/users/1", { accept: "application/xml" });
    expect([json.headers.etag, xml.headers.etag]).toEqual(['"3"', '"3-xml"']);
  });

  test("to a write is never 304", async () => {
    const response = await gateway.client.patch("/api/v1/users/1", {}, { "if-none-match": "*" });
    expect(response.status).toBe(200);
  });
});
