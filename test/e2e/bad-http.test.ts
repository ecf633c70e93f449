import assert from "node:assert/strict";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";

import { adminClient } from "../support/admin.ts";
import { problemOf } from "../support/problems.ts";
import { sendAndAbort, sendRaw, type RawResponse } from "../support/raw-http.ts";
import type { RestClient } from "../support/rest-client.ts";
import { complaintsOf, startRollcall, untilLogged, type Rollcall } from "../support/rollcall-process.ts";

/*
 * What no HTTP client sends, written to the socket byte by byte: the answer is a problem document, and nothing is
 * written, to the database or to the log as an error.
 */

const USERS = "/api/v1/users";
const HOST = "Host: rollcall\r\nConnection: close\r\n";
/** A gateway waits so long for headers, and looks for slow ones every 2 s. */
const SLOW_HEADERS_MS = 12_000;
/** What a busy machine may add; far below the 30 s that a whole request may take. */
const BUSY_MS = 5_000;

let node: Rollcall;
let client: RestClient;
/** Header lines of a request that would be let in. */
let authorized: string;
let before: string;
/** Begun first, as it takes long: a client that never ends its headers. */
let slowHeaders: Promise<{ response: RawResponse; durationMs: number }>;

beforeAll(async () => {
  node = await startRollcall();
  client = await adminClient(node.url);
  authorized = `${HOST}Authorization: Bearer ${client.token}\r\n`;
  before = (await client.get(USERS)).text;
  const startedAt = performance.now();
  slowHeaders = sendRaw(
    node.url,
    [`GET ${USERS} HTTP/1.1\r\nHost: rollcall\r\nX-Slow: `],
    2 * SLOW_HEADERS_MS,
  ).then((response) => ({ response, durationMs: performance.now() - startedAt }));
});

afterEach(async () => {
  assert.equal((await client.get(USERS)).text, before);
  assert.deepEqual(complaintsOf(node), []);
});

afterAll(async () => {
  client.close();
  await node.stop();
});

describe("a request that is not HTTP", () => {
  const post = (headers: string, body = "{}") => `POST ${USERS} HTTP/1.1\r\n${HOST}${headers}\r\n${body}`;

  test.each<[string, string]>([
    ["bytes", "\0\u0001\u0002\u0003\r\n\r\n"],
    ["the greeting of TLS", "\u0016\u0003\u0001\0\u00a1\u0001\0\0\r\n\r\n"],
    ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["a version that does not exist", `GET ${USERS} HTTP/3.7\r\n${HOST}\r\n`],
    ["a method that does not exist", `FETCH ${USERS} HTTP/1.1\r\n${HOST}\r\n`],
    ["a space in the path", `GET /api/v1/users and more HTTP/1.1\r\n${HOST}\r\n`],
    ["bytes above ASCII in the path", `GET /api/v1/\u00ff\u00fe HTTP/1.1\r\n${HOST}\r\n`],
    ["no host", `GET ${USERS} HTTP/1.1\r\nConnection: close\r\n\r\n`],
    ["a header without a colon", `GET ${USERS} HTTP/1.1\r\n${HOST}nonsense\r\n\r\n`],
    ["a header with a space in its name", `GET ${USERS} HTTP/1.1\r\n${HOST}not good: x\r\n\r\n`],
    ["a header with NUL", `GET ${USERS} HTTP/1.1\r\n${HOST}X-Test: a\0b\r\n\r\n`],
    ["a header that is folded", `GET ${USERS} HTTP/1.1\r\n${HOST}X-Test: a\r\n b\r\n\r\n`],
    ["line feeds alone", `GET ${USERS} HTTP/1.1\nHost: rollcall\n\n`],
    ["two lengths", post("Content-Length: 2\r\nContent-Length: 3\r\n")],
    ["a length and chunks", post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n")],
    ["a length that is no number", post("Content-Length: two\r\n")],
    ["a negative length", post("Content-Length: -2\r\n")],
    ["a length of 23 digits", post(`Content-Length: ${"9".repeat(23)}\r\n`)],
    ["an unknown transfer encoding", post("Transfer-Encoding: gzip\r\n")],
    [
      "a chunk without a size",
      post("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", "zz\r\n"),
    ],
  ])("is refused with 400: %s", async (_, bytes) => {
    const response = await sendRaw(node.url, [bytes]);

    expect(problemOf(response)).toMatchObject({ status: 400, code: "MALFORMED_REQUEST" });
  });

  test.each<[string, string]>([
    ["one header of 17 KiB", `X-Test: ${"a".repeat(17 * 1024)}\r\n`],
    ["5,000 headers", "a: b\r\n".repeat(5_000)],
  ])("is refused with 431: %s", async (_, headers) => {
    const response = await sendRaw(node.url, [`GET ${USERS} HTTP/1.1\r\n${HOST}${headers}\r\n`]);

    expect(problemOf(response)).toMatchObject({ status: 431, code: "HEADERS_TOO_LARGE" });
  });
});

test("a request with a path of 17 KiB is refused with 431", async () => {
  const response = await sendRaw(node.url, [`GET /${"a".repeat(17 * 1024)} HTTP/1.1\r\n${HOST}\r\n`]);

  expect(problemOf(response)).toMatchObject({ status: 431, code: "HEADERS_TOO_LARGE" });
});

test.each(["TRACE", "PROPFIND", "PURGE"])("the method %s is not allowed", async (method) => {
  const response = await sendRaw(node.url, [`${method} ${USERS} HTTP/1.1\r\n${HOST}\r\n`]);

  expect(problemOf(response)).toMatchObject({ status: 405, code: "METHOD_NOT_ALLOWED" });
  expect(response.headers["allow"]).toBe("POST, GET, HEAD, OPTIONS");
});

test("a request without a body that is refused at once leaves its connection open", async () => {
  const refused = `TRACE ${USERS} HTTP/1.1\r\nHost: rollcall\r\n\r\n`;
  const { status, text } = await sendRaw(node.url, [refused, `GET ${USERS} HTTP/1.1\r\n${HOST}\r\n`]);

  expect(status).toBe(405);
  expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 401"]);
});

test.each([
  [
    "a path",
    "http://rollcall/api/v1/users/1",
    { status: 400, code: "VALIDATION_FAILED", instance: `${USERS}/1` },
  ],
  [
    "a path of another host",
    "HTTPS://other.example:8443/api/v1/users/1",
    { status: 400, instance: `${USERS}/1` },
  ],
  ["no path", "http://rollcall", { status: 404, instance: "/" }],
  ["a query and no path", "http://rollcall?limit=1", { status: 404, instance: "/" }],
])("a whole URL with %s is answered like what is behind its host", async (_, url, problem) => {
  const response = await sendRaw(node.url, [`GET ${url} HTTP/1.1\r\n${authorized}\r\n`]);

  expect(problemOf(response)).toMatchObject(problem);
});

test("an expectation that is unknown does not keep a request from being answered", async () => {
  const response = await sendRaw(node.url, [
    `GET ${USERS}/1 HTTP/1.1\r\n${authorized}Expect: the-unexpected\r\n\r\n`,
  ]);

  expect(problemOf(response)).toMatchObject({ status: 400, code: "VALIDATION_FAILED" });
});

test("a client that asks first whether its body is welcome learns at once that it is too large", async () => {
  const headers = `Content-Type: application/json\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n`;
  const response = await sendRaw(node.url, [`POST ${USERS} HTTP/1.1\r\n${authorized}${headers}\r\n`]);

  expect(problemOf(response)).toMatchObject({ status: 413, code: "PAYLOAD_TOO_LARGE" });
});

test("a body of which more comes than was announced is not read as the next request", async () => {
  const smuggled = `GET /health/live HTTP/1.1\r\n${HOST}\r\n`;
  const headers = "Content-Type: application/json\r\nContent-Length: 2000000\r\n";
  const response = await sendRaw(node.url, [
    `POST ${USERS} HTTP/1.1\r\n${authorized.replace("Connection: close\r\n", "")}${headers}\r\n`,
    smuggled,
  ]);

  expect(problemOf(response)).toMatchObject({ status: 413, code: "PAYLOAD_TOO_LARGE" });
  expect(response.headers["connection"]).toBe("close");
});

test("an upload that breaks off is no error of the server", async () => {
  const body = JSON.stringify({ email: "broken@example.com", firstName: "Ada", lastName: "Lovelace" });
  const headers = `Content-Type: application/json\r\nContent-Length: ${body.length + 1}\r\nX-Request-Id: broken-off\r\n`;

  await sendAndAbort(node.url, `POST ${USERS} HTTP/1.1\r\n${authorized}${headers}\r\n${body}`);

  const line = await untilLogged(node, { requestId: "broken-off" });
  expect(line).toMatchObject({ level: "info", msg: "request", aborted: true });
});

test("a client that does not end its headers is answered with 408 within 12 s", async () => {
  const { response, durationMs } = await slowHeaders;

  expect(problemOf(response)).toMatchObject({ status: 408, retryable: true });
  expect(durationMs).toBeLessThan(SLOW_HEADERS_MS + BUSY_MS);
});
