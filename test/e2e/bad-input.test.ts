import assert from "node:assert/strict";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";

import { fieldsOf, problemOf } from "../support/problems.ts";
import { newUser, type RestRequest, type UserBody } from "../support/rest-client.ts";
import { startCluster, type Cluster } from "../support/rollcall-cluster.ts";
import { countRows } from "../support/write-audit.ts";

/*
 * Whatever a client sends, over two processes: the answer is a problem document with a 4xx status that names the field
 * where there is one, and nothing is written.
 */

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly fields: readonly string[];
}

/** In a path, it stands for the id of a user that exists. */
const ID = ":id";
const ABSENT = "019a0000-0000-7000-8000-000000000000";
const JSON_TYPE = { "content-type": "application/json" };
const MIB = 1_048_576;

const malformed: Refusal = { status: 400, code: "MALFORMED_BODY", fields: [] };
const unsupported: Refusal = { status: 415, code: "UNSUPPORTED_MEDIA_TYPE", fields: [] };
const tooLarge: Refusal = { status: 413, code: "PAYLOAD_TOO_LARGE", fields: [] };
const invalid = (...fields: string[]): Refusal => ({ status: 400, code: "VALIDATION_FAILED", fields });

let cluster: Cluster;
let user: UserBody;
let before: object;

beforeAll(async () => {
  cluster = await startCluster();
  user = await cluster.client.createUser();
});

beforeEach(async () => {
  before = await written();
});

afterEach(async () => {
  assert.deepEqual(await written(), before);
});

afterAll(() => cluster.stop());

describe("a body that is not a JSON object", () => {
  test.each<[string, string | Buffer]>([
    ["nothing", ""],
    ["text", "hello"],
    ["JSON that breaks off", '{"email":"ada@example.com"'],
    ["JSON with more after it", `${JSON.stringify(newUser())}{}`],
    ["a comma too many", '{"email":"ada@example.com",}'],
    ["single quotes", "{'email':'ada@example.com'}"],
    ["a comment", '{/**/"email":"ada@example.com"}'],
    ["NaN", '{"firstName":NaN}'],
    ["a control character in a string", '{"firstName":"A\u0001"}'],
    ["null", "null"],
    ["an array", "[]"],
    ["a number", "1"],
    ["a string", '"ada@example.com"'],
    ["true", "true"],
    ["only spaces", "   "],
    ["a NUL byte", "\0"],
    ["a form", "email=ada@example.com&firstName=Ada&lastName=Lovelace"],
    ["invalid UTF-8", Buffer.from('{"firstName":"\xff\xfe"}', "latin1")],
    ["UTF-8 that breaks off", Buffer.from('{"firstName":"\xe2\x82"}', "latin1")],
    ["an encoded surrogate", Buffer.from('{"firstName":"\xed\xa0\x80"}', "latin1")],
    ["UTF-16", Buffer.from('{"firstName":"Ada"}', "utf16le")],
    ["21 levels of objects", `${'{"a":'.repeat(21)}1${"}".repeat(21)}`],
    ["100,000 levels of arrays", `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
    ["100,000 levels that break off", `{"a":${"[".repeat(100_000)}`],
  ])("is refused: %s", async (_, body) => {
    expect(await refusalOf("POST", "/users", { body, headers: JSON_TYPE })).toEqual(malformed);
  });
});

describe("a new user", () => {
  const valid = { email: "ada@example.com", firstName: "Ada", lastName: "Lovelace" };
  const surrogate = (field: string) => JSON.stringify(valid).replace("{", `{"${field}":"\\ud800",`);

  test.each<[string, object | string, Refusal]>([
    ["without fields", {}, invalid("email", "firstName", "lastName")],
    ["without an address", { firstName: "Ada", lastName: "Lovelace" }, invalid("email")],
    [
      "with fields that are null",
      { email: null, firstName: null, lastName: null },
      invalid("email", "firstName", "lastName"),
    ],
    ["with an unknown field", { ...valid, shoeSize: 38 }, invalid("shoeSize")],
    ["with unknown fields", { ...valid, shoeSize: 38, hatSize: 7 }, invalid("shoeSize", "hatSize")],
    ["with an unknown and a wrong field", { ...valid, email: 1, shoeSize: 38 }, invalid("email", "shoeSize")],
    ["with an empty name of a field", { ...valid, "": 1 }, invalid("")],
    ["with an id", { ...valid, id: ABSENT }, invalid("id")],
    ["with a role", { ...valid, role: "admin" }, invalid("role")],
    ["with a status", { ...valid, status: "suspended" }, invalid("status")],
    ["with a version", { ...valid, version: 7 }, invalid("version")],
    [
      "with times",
      { ...valid, createdAt: "2030-01-01T00:00:00Z", deletedAt: null },
      invalid("createdAt", "deletedAt"),
    ],
    ["with image addresses", { ...valid, imageUrls: [] }, invalid("imageUrls")],
    ["with what only headers may say", { ...valid, expectedVersions: [1] }, invalid("expectedVersions")],
    ["with an option of the validator", { ...valid, $$strict: false }, invalid("$$strict")],
    ["with __proto__", '{"__proto__":{"role":"admin"},"email":"ada@example.com"}', invalid("__proto__")],
    ["with an escaped __proto__", '{"\\u005f_proto__":{"role":"admin"}}', invalid("__proto__")],
    ["with a nested __proto__", '{"email":{"__proto__":{"role":"admin"}}}', invalid("__proto__")],
    ["with constructor.prototype", '{"constructor":{"prototype":{"role":"admin"}}}', invalid("__proto__")],
    ["with constructor", { ...valid, constructor: 1 }, invalid("constructor")],
    ["with hasOwnProperty", { ...valid, hasOwnProperty: 1 }, invalid("hasOwnProperty")],
    ["with a number for text", { ...valid, firstName: 1 }, invalid("firstName")],
    ["with a boolean for text", { ...valid, firstName: true }, invalid("firstName")],
    ["with an array for text", { ...valid, email: ["ada@example.com"] }, invalid("email")],
    ["with an object for text", { ...valid, email: { $ne: "" } }, invalid("email")],
    ["with an array for a country", { ...valid, country: ["GB"] }, invalid("country")],
    [
      "with a huge number",
      '{"email":"ada@example.com","firstName":1e999,"lastName":"L"}',
      invalid("firstName"),
    ],
    [
      "with a number of 1,000 digits",
      `{"email":"ada@example.com","firstName":${"9".repeat(1000)},"lastName":"L"}`,
      invalid("firstName"),
    ],
    ["with an address without @", { ...valid, email: "ada" }, invalid("email")],
    ["with an address without a dot", { ...valid, email: "ada@localhost" }, invalid("email")],
    ["with two addresses", { ...valid, email: "ada@example.com, eve@example.com" }, invalid("email")],
    [
      "with an address of 255 characters",
      {
        ...valid,
        email: `ada@${"a".repeat(60)}.${"b".repeat(60)}.${"c".repeat(60)}.${"d".repeat(60)}.example`,
      },
      invalid("email"),
    ],
    ["with NUL in an address", { ...valid, email: "a\0da@example.com" }, invalid("email")],
    [
      "with a line feed in an address",
      { ...valid, email: "ada@example.com\nBcc: eve@example.com" },
      invalid("email"),
    ],
    ["with NUL in a name", { ...valid, firstName: "A\0da" }, invalid("firstName")],
    ["with a control character in a name", { ...valid, lastName: "Love\u001Blace" }, invalid("lastName")],
    ["with a line feed in a name", { ...valid, lastName: "Love\nlace" }, invalid("lastName")],
    ["with NUL in a long text", { ...valid, bio: "a\0" }, invalid("bio")],
    ["with a lone surrogate in a nickname", surrogate("nickname"), invalid("nickname")],
    ["with a lone surrogate in a long text", surrogate("bio"), invalid("bio")],
    ["with an empty name", { ...valid, firstName: "" }, invalid("firstName")],
    ["with a name of spaces", { ...valid, firstName: "   " }, invalid("firstName")],
    ["with a name that is too long", { ...valid, firstName: "a".repeat(101) }, invalid("firstName")],
    ["with a nickname that is too long", { ...valid, nickname: "a".repeat(51) }, invalid("nickname")],
    ["with a text that is too long", { ...valid, bio: "a".repeat(2001) }, invalid("bio")],
    ["with a country that does not exist", { ...valid, country: "ZZ" }, invalid("country")],
    ["with a country in small letters", { ...valid, country: "gb" }, invalid("country")],
    ["with a country of three letters", { ...valid, country: "GBR" }, invalid("country")],
    ["with __proto__ for a country", { ...valid, country: "__proto__" }, invalid("country")],
    ["with an empty country", { ...valid, country: "" }, invalid("country")],
  ])("is refused %s", async (_, body, refusal) => {
    expect(await refusalOf("POST", "/users", { body, headers: JSON_TYPE })).toEqual(refusal);
  });

  test("is refused with 20,000 unknown fields, of which some are named", async () => {
    const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`field${index}`, index]));

    const refusal = await refusalOf("POST", "/users", { body: { ...valid, ...many } });

    expect(refusal).toMatchObject({ status: 400, code: "VALIDATION_FAILED" });
    expect(refusal.fields).toContain("field0");
  });
});

describe("a change of a user", () => {
  const one = `/users/${ID}`;
  const whole = { email: "ada@example.com", firstName: "Ada", lastName: "Lovelace" };

  test.each<[string, string, string, object | string, Refusal]>([
    ["with an empty body", "PATCH", one, "", malformed],
    ["with an array", "PATCH", one, "[]", malformed],
    ["to null where a value is needed", "PATCH", one, { email: null }, invalid("email")],
    [
      "to names that are null",
      "PATCH",
      one,
      { firstName: null, lastName: null },
      invalid("firstName", "lastName"),
    ],
    ["of its id", "PATCH", one, { id: ABSENT }, invalid("id")],
    ["of its status", "PATCH", one, { status: "deleted" }, invalid("status")],
    ["of its version", "PATCH", one, { version: 9 }, invalid("version")],
    ["with __proto__", "PATCH", one, '{"__proto__":{"nickname":"x"}}', invalid("__proto__")],
    ["with a number for text", "PATCH", one, { nickname: 1 }, invalid("nickname")],
    ["with only a part of it", "PUT", one, { email: "ada@example.com" }, invalid("firstName", "lastName")],
    ["with an unknown field", "PUT", one, { ...whole, shoeSize: 38 }, invalid("shoeSize")],
    ["with another id than in the path", "PUT", one, { ...whole, id: ABSENT }, invalid("id")],
    ["with parameters in the query", "PATCH", `${one}?force=1`, { nickname: "x" }, invalid("force")],
    ["with its id in the query", "PATCH", `${one}?id=${ABSENT}`, { nickname: "x" }, invalid("id")],
    ["with a body where none is taken", "DELETE", one, { force: true }, invalid("force")],
    ["with a body that is not JSON where none is taken", "DELETE", one, "force", malformed],
    ["with a body for restore", "POST", `${one}/restore`, { force: true }, invalid("force")],
    ["with a body for erase", "POST", `${one}/erase`, { force: true }, invalid("force")],
    [
      "of a user that is not there",
      "PATCH",
      `/users/${ABSENT}`,
      {},
      { status: 404, code: "USER_NOT_FOUND", fields: [] },
    ],
    ["with a bad id", "PATCH", "/users/1", { nickname: "x" }, invalid("id")],
    ["with a bad id to delete", "DELETE", "/users/1", "", invalid("id")],
    ["with a bad id to erase", "POST", "/users/1/erase", "", invalid("id")],
    ["by the other name, with a bad id", "DELETE", "/profiles/1", "", invalid("id")],
  ])("is refused %s (%s %s)", async (_, method, path, body, refusal) => {
    expect(await refusalOf(method, path, { body, headers: JSON_TYPE })).toEqual(refusal);
  });
});

describe("a list", () => {
  test.each<[string, Refusal]>([
    ["limit=0", invalid("limit")],
    ["limit=101", invalid("limit")],
    ["limit=-1", invalid("limit")],
    ["limit=1.5", invalid("limit")],
    ["limit=", invalid("limit")],
    ["limit=ten", invalid("limit")],
    ["limit=1e999", invalid("limit")],
    ["limit=1e1", invalid("limit")],
    ["limit=0x10", invalid("limit")],
    ["limit=005", invalid("limit")],
    ["limit=+5", invalid("limit")],
    ["limit=5+", invalid("limit")],
    ["limit=5&limit=5", invalid("limit")],
    ["limit[]=5", invalid("limit[]")],
    ["Limit=5", invalid("Limit")],
    ["sort=email", invalid("sort")],
    ["sort=createdAt&sort=-createdAt", invalid("sort")],
    ["sort=createdAt;DROP%20TABLE%20users", invalid("sort")],
    ["cursor=", invalid("cursor")],
    ["cursor=abc", { status: 400, code: "INVALID_CURSOR", fields: ["cursor"] }],
    ["cursor=%00", { status: 400, code: "INVALID_CURSOR", fields: ["cursor"] }],
    [`cursor=${"A".repeat(64)}`, { status: 400, code: "INVALID_CURSOR", fields: ["cursor"] }],
    [`cursor=${"A".repeat(1001)}`, invalid("cursor")],
    ["country=ZZ", invalid("country")],
    ["country=GB&country=DE", invalid("country")],
    ["status=unknown", invalid("status")],
    ["email=ada", invalid("email")],
    ["q=", invalid("q")],
    ["q=%00", invalid("q")],
    ["q=%ff", invalid("q")],
    ["q=%ED%A0%80", invalid("q")],
    ["q=%", invalid("q")],
    ["q=%zz", invalid("q")],
    [`q=${"a".repeat(101)}`, invalid("q")],
    ["createdAfter=yesterday", invalid("createdAfter")],
    ["createdAfter=2030-02-30T00:00:00Z", invalid("createdAfter")],
    ["createdAfter=2030-13-01T00:00:00Z", invalid("createdAfter")],
    ["createdBefore=2030-01-01", invalid("createdBefore")],
    ["createdBefore=2030-01-01T00:00:00%2B99:99", invalid("createdBefore")],
    ["createdBefore=1893456000", invalid("createdBefore")],
    ["page=2", invalid("page")],
    ["id=1", invalid("id")],
    ["expectedVersions=1", invalid("expectedVersions")],
    ["__proto__=1", invalid("__proto__")],
    ["__proto__[limit]=1", invalid("__proto__[limit]")],
    ["constructor=1", invalid("constructor")],
    ["toString=1", invalid("toString")],
    ["%ff=1", invalid("%ff")],
    ["=1", invalid("")],
    ["limit=0&sort=email&page=2", invalid("limit", "sort", "page")],
  ])("is refused with ?%s", async (query, refusal) => {
    expect(await refusalOf("GET", `/users?${query}`)).toEqual(refusal);
  });
});

describe("an id or path", () => {
  const nothingThere: Refusal = { status: 404, code: "ROUTE_NOT_FOUND", fields: [] };
  const unreadable: Refusal = { status: 400, code: "MALFORMED_REQUEST", fields: [] };

  test.each<[string, Refusal]>([
    ["/users/1", invalid("id")],
    [`/users/${ABSENT}0`, invalid("id")],
    [`/users/%7B${ABSENT}%7D`, invalid("id")],
    ["/users/%00", invalid("id")],
    ["/users/__proto__", invalid("id")],
    ["/users/..%2f..%2fhealth", invalid("id")],
    [`/users/${"a".repeat(5000)}`, invalid("id")],
    ["/users/%ff", unreadable],
    ["/users/%", unreadable],
    ["/users/%ED%A0%80", unreadable],
    [`/users/${ABSENT}`, { status: 404, code: "USER_NOT_FOUND", fields: [] }],
    [`/users/${ID}/..`, nothingThere],
    [`/users/${ID}/restore/again`, nothingThere],
    ["//users", nothingThere],
    ["/%75sers.list", nothingThere],
    ["/users.list", nothingThere],
  ])("is refused: %s", async (path, refusal) => {
    expect(await refusalOf("GET", path)).toEqual(refusal);
  });
});

describe("a header", () => {
  const body = JSON.stringify({ email: "ada@example.com", firstName: "Ada", lastName: "Lovelace" });
  const notAcceptable: Refusal = { status: 406, code: "NOT_ACCEPTABLE", fields: [] };

  test.each<[string, Record<string, string | string[]>, Refusal]>([
    ["no content type", {}, unsupported],
    ["an empty content type", { "content-type": "" }, unsupported],
    ["text", { "content-type": "text/plain" }, unsupported],
    ["a form", { "content-type": "application/x-www-form-urlencoded" }, unsupported],
    ["a multipart form", { "content-type": "multipart/form-data; boundary=x" }, unsupported],
    ["XML", { "content-type": "application/xml" }, unsupported],
    ["a patch for a create", { "content-type": "application/merge-patch+json" }, unsupported],
    ["a type that begins like JSON", { "content-type": "application/jsonp" }, unsupported],
    ["a content type that is none", { "content-type": ";;;" }, unsupported],
    ["another charset", { "content-type": "application/json; charset=iso-8859-1" }, unsupported],
    ["a compressed body", { ...JSON_TYPE, "content-encoding": "gzip" }, unsupported],
    ["an unknown encoding", { ...JSON_TYPE, "content-encoding": "rot13" }, unsupported],
    ["an answer in HTML", { ...JSON_TYPE, accept: "text/html" }, notAcceptable],
    ["no answer at all", { ...JSON_TYPE, accept: "application/json;q=0" }, notAcceptable],
    ["an Accept that is none", { ...JSON_TYPE, accept: ";;," }, notAcceptable],
    ["an empty key", { ...JSON_TYPE, "idempotency-key": "" }, invalid("Idempotency-Key")],
    [
      "a key that is too long",
      { ...JSON_TYPE, "idempotency-key": "k".repeat(256) },
      invalid("Idempotency-Key"),
    ],
    ["a key that is not ASCII", { ...JSON_TYPE, "idempotency-key": "clé" }, invalid("Idempotency-Key")],
  ])("is refused that says: %s", async (_, headers, refusal) => {
    expect(await refusalOf("POST", "/users", { body, headers })).toEqual(refusal);
  });

  test.each(["nonsense", '"0"', '"-1"', '"1e0"', '"99999999999999999999"', 'W/"1"', ""])(
    "is refused that expects the version %s",
    async (ifMatch) => {
      const headers = { "if-match": ifMatch };
      const stale = { status: 412, code: "PRECONDITION_FAILED", fields: [] };
      expect(await refusalOf("PATCH", `/users/${ID}`, { body: { nickname: "x" }, headers })).toEqual(stale);
    },
  );
});

describe("a body that is too large", () => {
  const filled = (bytes: number) => `{"bio":"${"a".repeat(bytes - '{"bio":""}'.length)}"}`;
  const chunked = { ...JSON_TYPE, "transfer-encoding": "chunked" };

  test.each<[string, Record<string, string>, string]>([
    ["one byte above 1 MiB", JSON_TYPE, filled(MIB + 1)],
    ["one byte above 1 MiB, in chunks", chunked, filled(MIB + 1)],
    ["2 MiB of spaces", JSON_TYPE, " ".repeat(2 * MIB)],
  ])("is refused: %s", async (_, headers, body) => {
    expect(await refusalOf("POST", "/users", { body, headers })).toEqual(tooLarge);
    expect(await refusalOf("PATCH", `/users/${ID}`, { body, headers })).toEqual(tooLarge);
  });

  test.each([MIB, MIB - 200, MIB / 2])(
    "with %d bytes, which the gateway takes, is refused too",
    async (bytes) => {
      const { status } = await refusalOf("PATCH", `/users/${ID}`, {
        body: filled(bytes),
        headers: JSON_TYPE,
      });
      expect([400, 413]).toContain(status);
    },
  );
});

async function refusalOf(method: string, path: string, request: RestRequest = {}): Promise<Refusal> {
  const response = await cluster.client.request(method, `/api/v1${path.replace(ID, user.id)}`, request);
  const problem = problemOf(response);
  return { status: response.status, code: problem.code, fields: fieldsOf(problem) };
}

/** What a request could have changed, as the database and the API have it. */
async function written(): Promise<object> {
  const { json } = await cluster.client.get("/api/v1/users?limit=100", { "cache-control": "no-cache" });
  return { rows: await countRows(cluster.postgres.url), users: json };
}
