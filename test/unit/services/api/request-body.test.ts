import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, request as openRequest, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { BODY_LIMIT_BYTES, readBody } from "../../../../services/api/request-body.ts";
import { sendAndAbort } from "../../../support/raw-http.ts";

const CONSUMES = ["application/json", "application/merge-patch+json"];
const JSON_TYPE = { "content-type": "application/json" };

/** What `readBody` made of a request. */
type Outcome = { body: unknown } | { type: string; data: unknown };

let server: Server;
/** By the path of the request, which is its own. */
const outcomes = new Map<string, PromiseWithResolvers<Outcome>>();

beforeAll(async () => {
  server = createServer((request) => void readAndTell(request));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

async function readAndTell(request: IncomingMessage): Promise<void> {
  const consumes = request.headers["x-test-consumes"];
  const outcome = outcomes.get(request.url ?? "");
  try {
    outcome?.resolve({ body: await readBody(request, typeof consumes === "string" ? [consumes] : CONSUMES) });
  } catch (error) {
    const { type, data } = error as { type: string; data: unknown };
    outcome?.resolve({ type, data });
  }
}

const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/** A path for one request, and what becomes of that. */
function expectRequest(): { path: string; outcome: Promise<Outcome> } {
  const path = `/${randomUUID()}`;
  const settled = Promise.withResolvers<Outcome>();
  outcomes.set(path, settled);
  return { path, outcome: settled.promise };
}

/** Sends a request whose body is these chunks; with one of them its length is announced. */
async function read(
  chunks: readonly (string | Buffer)[],
  headers: Record<string, string> = JSON_TYPE,
): Promise<Outcome> {
  const { path, outcome } = expectRequest();
  const [first = "", ...others] = chunks;
  const length = others.length === 0 ? { "content-length": Buffer.byteLength(first) } : {};
  const request = openRequest(`${url()}${path}`, {
    method: "POST",
    agent: false,
    headers: { ...length, ...headers },
  });
  request.on("error", () => undefined);
  for (const chunk of chunks) request.write(chunk);
  request.end();
  // Nobody answers.
  return outcome.finally(() => request.destroy());
}

/** Sends the beginning of a request and breaks it off. */
async function readBrokenOff(framing: string, start: string): Promise<Outcome> {
  const { path, outcome } = expectRequest();
  const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${framing}\r\n\r\n`;
  await sendAndAbort(url(), head + start);
  return outcome;
}

const readJson = (text: string | Buffer): Promise<Outcome> => read([text]);

describe("a body", () => {
  test("is the object that was sent, announced by its length or in chunks", async () => {
    const text = '{"firstName": "Zoë", "tags": [1, null, {"a": "b"}], "nickname": null}';
    const body = JSON.parse(text) as object;
    await expect(readJson(text)).resolves.toEqual({ body });
    await expect(read([text.slice(0, 10), text.slice(10)])).resolves.toEqual({ body });
  });

  test("is whole when a character is split over two chunks", async () => {
    const bytes = Buffer.from('{"a":"€"}');
    await expect(read([bytes.subarray(0, 7), bytes.subarray(7)])).resolves.toEqual({ body: { a: "€" } });
  });

  test("is undefined when there is none", async () => {
    await expect(read([""], {})).resolves.toEqual({ body: undefined });
    await expect(read(["", ""])).resolves.toEqual({ body: undefined });
  });

  test("may start with a byte order mark", async () => {
    await expect(readJson('\ufeff{"a":1}')).resolves.toEqual({ body: { a: 1 } });
  });

  test.each([
    " ",
    "{",
    '{"a":1',
    "{'a':1}",
    '{"a":1,}',
    "{a:1}",
    '{"a":NaN}',
    '{"a":1}{"b":2}',
    "a=1&b=2",
    '{"a":"\n"}',
    '{"a":"\\ud8"}',
  ])("that is no JSON is refused: %j", async (text) => {
    const data = { detail: "The body is not valid JSON." };
    await expect(readJson(text)).resolves.toEqual({ type: "MALFORMED_BODY", data });
  });

  test.each(["[]", '[{"a":1}]', '"text"', "1", "true", "null"])(
    "that is no object is refused: %s",
    async (text) => {
      const data = { detail: "The body must be a JSON object." };
      await expect(readJson(text)).resolves.toEqual({ type: "MALFORMED_BODY", data });
    },
  );

  test.each([
    ["a lone continuation byte", [0x80]],
    ["an overlong form", [0xc0, 0xaf]],
    ["half of a surrogate pair", [0xed, 0xa0, 0x80]],
    ["Latin-1", [0xe9]],
    ["a character that is cut off", [0xe2, 0x82]],
  ])("with %s is refused", async (_, bytes) => {
    const text = Buffer.concat([Buffer.from('{"a":"'), Buffer.from(bytes), Buffer.from('"}')]);
    const data = { detail: "The body is not valid UTF-8." };
    await expect(readJson(text)).resolves.toEqual({ type: "MALFORMED_BODY", data });
  });

  test.each([
    '{"__proto__": {"role": "admin"}}',
    '{"a": [{"__proto__": null}]}',
    '{"\\u005f_proto__": 1}',
    '{"constructor": {"prototype": {"role": "admin"}}}',
    '{"a": {"constructor": {"prototype": 1}}}',
  ])("that reaches for prototypes is refused: %s", async (text) => {
    await expect(readJson(text)).resolves.toMatchObject({
      type: "VALIDATION_FAILED",
      data: { errors: [{ field: "__proto__", rule: "forbidden" }] },
    });
    expect({}).not.toHaveProperty("role");
  });

  test("may say __proto__ in a value", async () => {
    await expect(readJson('{"a": "__proto__"}')).resolves.toEqual({ body: { a: "__proto__" } });
  });
});

describe("the depth of a body", () => {
  const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;

  test("may be 20 levels, not 21", async () => {
    await expect(readJson(nested(20))).resolves.toHaveProperty("body.a.a.a");
    const data = { detail: "The body is nested deeper than 20 levels." };
    await expect(readJson(nested(21))).resolves.toEqual({ type: "MALFORMED_BODY", data });
  });

  test("that would exhaust the stack is refused", async () => {
    const text = `{"a":${"[".repeat(500_000)}${"]".repeat(500_000)}}`;
    await expect(readJson(text)).resolves.toMatchObject({ type: "MALFORMED_BODY" });
  });
});

describe("the size of a body", () => {
  const ofSize = (bytes: number) => `{"a":"${"x".repeat(bytes - 8)}"}`;
  const tooLarge = { type: "PAYLOAD_TOO_LARGE", data: { detail: "At most 1048576 bytes are allowed." } };

  test("may be 1 MiB", async () => {
    expect(BODY_LIMIT_BYTES).toBe(1024 * 1024);
    const text = ofSize(BODY_LIMIT_BYTES);
    await expect(readJson(text)).resolves.toHaveProperty("body");
    await expect(read([text.slice(0, 1000), text.slice(1000)])).resolves.toHaveProperty("body");
  });

  test("may not be a byte more, announced or not", async () => {
    const text = ofSize(BODY_LIMIT_BYTES + 1);
    await expect(readJson(text)).resolves.toEqual(tooLarge);
    await expect(read([text.slice(0, 1000), text.slice(1000)])).resolves.toEqual(tooLarge);
  });

  test("is counted in bytes, not in characters", async () => {
    const euros = `{"a":"${"€".repeat(BODY_LIMIT_BYTES / 3)}"}`;
    expect(euros.length).toBeLessThan(BODY_LIMIT_BYTES / 2);
    await expect(readJson(euros)).resolves.toEqual(tooLarge);
  });

  test("that is announced as too large is refused before it is sent", async () => {
    await expect(readBrokenOff(`Content-Length: ${10 ** 12}`, "")).resolves.toEqual(tooLarge);
  });
});

describe("a body that breaks off", () => {
  test.each([
    ["Content-Length: 100", '{"a":'],
    ["Transfer-Encoding: chunked", '5\r\n{"a":\r\n'],
  ])("is refused: %s", async (framing, start) => {
    const data = { detail: "The body did not arrive whole." };
    await expect(readBrokenOff(framing, start)).resolves.toEqual({ type: "MALFORMED_BODY", data });
  });
});

describe("the type of a body", () => {
  const text = '{"a":1}';

  test.each([
    "application/json",
    "Application/JSON",
    "application/json; charset=utf-8",
    'application/json;charset="UTF-8"',
    "application/json; profile=x",
    "application/merge-patch+json",
  ])("may be %s", async (type) => {
    await expect(read([text], { "content-type": type })).resolves.toEqual({ body: { a: 1 } });
  });

  test.each([
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json-patch+json",
    "application/jsonx",
    "application/json; charset=iso-8859-1",
    "application/json; charset=utf-16",
    "json",
    ";",
  ])("may not be %s", async (type) => {
    const data = {
      detail: "Send application/json or application/merge-patch+json in UTF-8, not compressed.",
    };
    await expect(read([text], { "content-type": type })).resolves.toEqual({
      type: "UNSUPPORTED_MEDIA_TYPE",
      data,
    });
  });

  test("must be given", async () => {
    await expect(read([text], {})).resolves.toMatchObject({ type: "UNSUPPORTED_MEDIA_TYPE" });
  });

  test.each(["gzip", "br", "deflate", "identity, gzip", "x"])("may not be encoded: %s", async (encoding) => {
    const headers = { ...JSON_TYPE, "content-encoding": encoding };
    await expect(read([text], headers)).resolves.toMatchObject({ type: "UNSUPPORTED_MEDIA_TYPE" });
  });

  test("may be encoded as itself", async () => {
    const headers = { ...JSON_TYPE, "content-encoding": "identity" };
    await expect(read([text], headers)).resolves.toEqual({ body: { a: 1 } });
  });

  test("is that of the route", async () => {
    const headers = { "content-type": "application/merge-patch+json", "x-test-consumes": "application/json" };
    await expect(read([text], headers)).resolves.toEqual({
      type: "UNSUPPORTED_MEDIA_TYPE",
      data: { detail: "Send application/json in UTF-8, not compressed." },
    });
  });
});
