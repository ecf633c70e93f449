import { gunzipSync } from "node:zlib";

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";

import { adminClient } from "../support/admin.ts";
import { problemOf } from "../support/problems.ts";
import { newUser, type RestClient, type UserBody } from "../support/rest-client.ts";
import { startRollcall, type Rollcall } from "../support/rollcall-process.ts";

const USERS = "/api/v1/users";
const XML = { accept: "application/xml" };

let node: Rollcall;
let client: RestClient;
let user: UserBody;
let path: string;

beforeAll(async () => {
  node = await startRollcall();
  client = await adminClient(node.url);
});

beforeEach(async () => {
  user = await client.createUser({ nickname: "<Countess> & Co.", bio: "Zażółć gęślą jaźń 🚀" });
  path = `${USERS}/${user.id}`;
});

afterAll(async () => {
  client.close();
  await node.stop();
});

describe("a user in JSON", () => {
  test("has exactly the documented members, with times in UTC", async () => {
    const { headers, json } = await client.get(path);

    const time: unknown = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(json).toEqual({
      id: expect.stringMatching(/^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/),
      email: user.email,
      firstName: "Ada",
      lastName: "Lovelace",
      nickname: "<Countess> & Co.",
      country: null,
      bio: "Zażółć gęślą jaźń 🚀",
      imageUrls: [],
      avatarUrl: null,
      role: "user",
      status: "active",
      version: 1,
      createdAt: time,
      updatedAt: time,
    });
  });

  test.each(["*/*", "application/*", "text/html, application/json;q=0.5", "application/problem+json"])(
    "is what a client gets that accepts %s",
    async (accept) => {
      const response = await client.get(path, { accept });

      expect(response.status).toBe(200);
      expect(response.headers["content-type"]).toBe("application/json; charset=utf-8");
    },
  );
});

describe("XML", () => {
  test.each(["application/xml", "text/xml", "application/json;q=0.4, application/xml;q=0.9"])(
    "of a user is what a client gets that accepts %s",
    async (accept) => {
      const { headers, text } = await client.get(path, { accept });

      expect(headers["content-type"]).toBe("application/xml");
      expect(headers.vary).toMatch(/\bAccept\b/);
      const { createdAt, updatedAt } = (await client.get(path)).json as Record<string, string>;
      expect(text).toBe(
        `<?xml version="1.0" encoding="UTF-8"?><user><id>${user.id}</id><email>${user.email}</email>` +
          "<firstName>Ada</firstName><lastName>Lovelace</lastName>" +
          "<nickname>&lt;Countess&gt; &amp; Co.</nickname><bio>Zażółć gęślą jaźń 🚀</bio><imageUrls/>" +
          "<role>user</role><status>active</status><version>1</version>" +
          `<createdAt>${createdAt}</createdAt><updatedAt>${updatedAt}</updatedAt></user>`,
      );
    },
  );

  test("of a list holds its users and the cursor of the next page", async () => {
    await client.createUser();

    const { text } = await client.get(`${USERS}?limit=1`, XML);

    expect(text).toMatch(
      /^<\?xml [^>]*\?><users><data><item><id>.*<\/item><\/data><nextCursor>[\w-]+<\/nextCursor><\/users>$/,
    );
  });

  test("of an error is a problem document too", async () => {
    const { status, headers, text } = await client.get(`${USERS}/1`, XML);

    expect(status).toBe(400);
    expect(headers["content-type"]).toBe("application/problem+xml");
    expect(text).toContain('<problem xmlns="urn:ietf:rfc:7807"><type>/docs/errors#validation-failed</type>');
    expect(text).toContain("<status>400</status>");
    expect(text).toContain("<code>VALIDATION_FAILED</code>");
    expect(text).toContain(`<requestId>${String(headers["x-request-id"])}</requestId>`);
    expect(text).toMatch(/<errors><item><field>id<\/field>.*<\/item><\/errors><\/problem>$/);
  });

  test("is what the answer to a write may be in", async () => {
    const response = await client.post(USERS, newUser({ firstName: "Grace" }), XML);

    expect(response.status).toBe(201);
    expect(response.text).toContain("<firstName>Grace</firstName>");
  });

  test("has another entity tag than JSON, and both match as the version", async () => {
    const json = await client.get(path);
    const xml = await client.get(path, XML);

    expect(xml.headers.etag).not.toBe(json.headers.etag);
    expect((await client.get(path, { ...XML, "if-none-match": xml.headers.etag ?? "" })).status).toBe(304);
    expect((await client.get(path, { ...XML, "if-none-match": json.headers.etag ?? "" })).status).toBe(200);
    const changed = await client.patch(path, { nickname: "x" }, { "if-match": xml.headers.etag ?? "" });
    expect(changed.status).toBe(200);
  });
});

describe("a representation that is not there", () => {
  test("is refused with 406, and the write that asked for it is not executed", async () => {
    const body = newUser();

    const response = await client.post(USERS, body, { accept: "text/html" });

    expect(problemOf(response)).toMatchObject({ status: 406, code: "NOT_ACCEPTABLE" });
    expect((await client.get(`${USERS}?email=${body.email}`)).json).toMatchObject({ data: [] });
  });
});

describe("HEAD", () => {
  test.each([
    ["a user", () => path],
    ["a list", () => USERS],
    ["a health check", () => "/health/live"],
  ])("of %s is GET without the body", async (_, pathOf) => {
    const get = await client.get(pathOf());
    const head = await client.request("HEAD", pathOf());

    const named = ["content-type", "content-length", "etag", "link", "vary", "cache-control"];
    const pick = (headers: typeof get.headers) => named.map((name) => headers[name]);
    expect(head.status).toBe(200);
    expect(head.bytes).toHaveLength(0);
    expect(pick(head.headers)).toEqual(pick(get.headers));
  });

  test("of nothing is the status of the error, without its body", async () => {
    const response = await client.request("HEAD", `${USERS}/1`);

    expect(response.status).toBe(400);
    expect(response.bytes).toHaveLength(0);
  });
});

describe("a method", () => {
  const collection = "POST, GET, HEAD, OPTIONS";
  const resource = "GET, PUT, PATCH, DELETE, HEAD, OPTIONS";

  test.each([
    ["DELETE", () => USERS, collection],
    ["PATCH", () => USERS, collection],
    ["POST", () => path, resource],
    ["GET", () => `${path}/restore`, "POST, OPTIONS"],
    ["HEAD", () => `${path}/erase`, "POST, OPTIONS"],
    ["POST", () => "/health", "GET, HEAD, OPTIONS"],
  ])("that a path does not have is refused with the ones it has: %s", async (method, pathOf, allowed) => {
    const response = await client.request(method, pathOf());

    expect(response.status).toBe(405);
    expect(response.headers.allow).toBe(allowed);
    const body = method === "HEAD" ? undefined : problemOf(response);
    expect(body?.code ?? "METHOD_NOT_ALLOWED").toBe("METHOD_NOT_ALLOWED");
  });

  test.each([
    ["a list", () => USERS, collection],
    ["a user", () => path, resource],
    ["the health", () => "/health", "GET, HEAD, OPTIONS"],
  ])("is told by OPTIONS of %s", async (_, pathOf, allowed) => {
    const response = await client.request("OPTIONS", pathOf());

    expect(response.status).toBe(204);
    expect(response.headers.allow).toBe(allowed);
  });
});

describe("an entity tag", () => {
  test("changes with the user, and a client that has it gets 304 without a body", async () => {
    const first = await client.get(path);
    expect(first.headers.etag).toBe('"1"');
    expect(first.headers["cache-control"]).toBe("private, no-cache");

    const same = await client.get(path, { "if-none-match": '"1"' });
    expect([same.status, same.text, same.headers.etag]).toEqual([304, "", '"1"']);

    await client.patch(path, { nickname: "x" });
    const changed = await client.get(path, { "if-none-match": '"1"' });
    expect([changed.status, changed.headers.etag]).toEqual([200, '"2"']);
  });

  test.each(['W/"1"', '"7", "1"', 'W/"7", W/"1"', "*"])(
    "in If-None-Match: %s is known",
    async (ifNoneMatch) => {
      expect((await client.get(path, { "if-none-match": ifNoneMatch })).status).toBe(304);
    },
  );

  test.each(['"2"', '"1-xml"', "1", '"11"', 'w/"1"', ""])(
    "in If-None-Match: %s is not known",
    async (ifNoneMatch) => {
      expect((await client.get(path, { "if-none-match": ifNoneMatch })).status).toBe(200);
    },
  );

  test("of a deleted user is of no use", async () => {
    await client.request("DELETE", path);

    expect((await client.get(path, { "if-none-match": "*" })).status).toBe(404);
  });
});

describe("compression", () => {
  test("is used for a large body, of a client that asks for it", async () => {
    await Promise.all(Array.from({ length: 10 }, () => client.createUser({ bio: "long ".repeat(100) })));

    const plain = await client.get(`${USERS}?limit=10`);
    const small = await client.get(`${USERS}?limit=10`, { "accept-encoding": "gzip" });

    expect(plain.headers["content-encoding"]).toBeUndefined();
    expect(small.headers["content-encoding"]).toBe("gzip");
    expect(small.headers.vary).toMatch(/\bAccept-Encoding\b/);
    expect(small.bytes.length).toBeLessThan(plain.bytes.length / 2);
    expect(gunzipSync(small.bytes)).toEqual(plain.bytes);
  });

  test("gives the bytes a tag of their own, which stands for the same version", async () => {
    const { id } = await client.createUser({ bio: "long ".repeat(400) });
    const gzip = { "accept-encoding": "gzip" };
    const long = `${USERS}/${id}`;

    expect((await client.get(long)).headers.etag).toBe('"1"');
    const small = await client.get(long, gzip);
    expect(small.headers).toMatchObject({ "content-encoding": "gzip", etag: '"1-gzip"' });
    const known = await client.get(long, { ...gzip, "if-none-match": '"1-gzip"' });
    expect(known).toMatchObject({ status: 304, headers: { etag: '"1-gzip"' } });

    const changed = await client.patch(long, { nickname: "Long" }, { ...gzip, "if-match": '"1-gzip"' });
    expect(changed).toMatchObject({ status: 200, headers: { etag: '"2-gzip"' } });
    expect((await client.get(long, { ...gzip, "if-none-match": '"1-gzip"' })).status).toBe(200);
    const late = await client.patch(long, { nickname: "Late" }, { "if-match": '"1-gzip"' });
    expect(late.status).toBe(412);
  });

  test("is not used for a small body", async () => {
    const response = await client.get("/health/live", { "accept-encoding": "gzip" });

    expect(response.headers["content-encoding"]).toBeUndefined();
    expect(response.json).toEqual({ status: "up" });
  });
});

describe("/profiles", () => {
  test("serves the same users as /users", async () => {
    const created = await client.post("/api/v1/profiles", newUser({ firstName: "Grace" }));
    const { id } = created.json as UserBody;

    expect(created.headers.location).toBe(`/api/v1/profiles/${id}`);
    const asUser = await client.get(`${USERS}/${id}`);
    const asProfile = await client.get(`/api/v1/profiles/${id}`);
    expect(asProfile.text).toBe(asUser.text);
    expect(asProfile.headers.etag).toBe(asUser.headers.etag);
    expect((await client.get("/api/v1/profiles?limit=1")).json).toEqual(
      (await client.get(`${USERS}?limit=1`)).json,
    );

    await client.patch(`/api/v1/profiles/${id}`, { lastName: "Hopper" });
    expect((await client.get(`${USERS}/${id}`)).json).toMatchObject({ lastName: "Hopper", version: 2 });
    expect((await client.request("DELETE", `/api/v1/profiles/${id}`)).status).toBe(204);
    expect((await client.get(`${USERS}/${id}`)).status).toBe(404);
    expect((await client.post(`/api/v1/profiles/${id}/restore`, undefined)).status).toBe(200);
    expect((await client.post(`/api/v1/profiles/${id}/erase`, undefined)).status).toBe(204);
  });
});
