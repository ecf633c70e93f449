import { spawnSync } from "node:child_process";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { request as openRequest, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";

import { createHttpServer } from "../../../../lib/http-server.ts";
import { toProblem } from "../../../../lib/problem.ts";
import { UploadSpool, type SpooledUpload } from "../../../../services/api/upload-spool.ts";
import { fileForm, formOf, type FormPart } from "../../../support/multipart.ts";
import { sendAndAbort, sendRaw } from "../../../support/raw-http.ts";
import { RestClient } from "../../../support/rest-client.ts";
import { waitFor } from "../../../support/wait-for.ts";

const LIMIT_BYTES = 100_000;
const RAW = { "content-type": "image/png" };

let spool: UploadSpool;
let server: Server;
let client: RestClient;
let url: string;
/** What is done with an upload before it is answered. */
let use: (upload: SpooledUpload) => Promise<void>;
/** Requests that have not been answered. */
let underWay: number;
/** Codes of the refused requests. */
let refusals: string[];

beforeEach(async () => {
  use = async () => undefined;
  underWay = 0;
  refusals = [];
  spool = new UploadSpool({ uploads: 2, bytes: LIMIT_BYTES });
  await spool.open();
  server = createHttpServer((request, response) => void answer(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  client = new RestClient(url);
});

afterEach(async () => {
  client.close();
  server.closeAllConnections();
  server.close();
  await once(server, "close");
  await spool.close();
});

/** Answers with what has arrived, or with a problem document. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  underWay += 1;
  try {
    const sender = randomUUID();
    const [name, hash] = await spool.take(request, sender, async (upload) => {
      await use(upload);
      const content = await readFile(upload.path);
      expect(content.length).toBe(upload.bytes);
      return [upload.path, upload.sha256];
    });
    response.end(JSON.stringify({ name, hash }));
  } catch (error) {
    const problem = toProblem(error, { instance: "", requestId: "" });
    refusals.push(problem.code);
    response.writeHead(problem.status, request.complete ? {} : { connection: "close" });
    response.end(JSON.stringify(problem));
  } finally {
    underWay -= 1;
  }
}

const sha256 = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");

const post = (body: string | Buffer, headers: Record<string, string>) => client.post("/", body, headers);

async function foldersOfSpool(): Promise<string[]> {
  const names = await readdir(tmpdir());
  return names.filter((name) => name.startsWith(`rollcall-uploads-${process.pid}-`));
}

async function filesInSpool(): Promise<string[]> {
  const folders = await foldersOfSpool();
  const files = await Promise.all(folders.map((folder) => readdir(join(tmpdir(), folder))));
  return files.flat();
}

/** Waits until nothing of any upload is left: neither a handler nor a file. */
async function untilNothingIsLeft(): Promise<void> {
  await waitFor(() => underWay === 0, { description: "all uploads to end" });
  expect(await filesInSpool()).toEqual([]);
}

test.each([
  ["image/png", "The file is empty."],
  ["multipart/form-data; boundary=x", "The body is not a whole multipart form."],
])("a request that has no body at all is refused: %s", async (type, detail) => {
  const head = `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: ${type}\r\n\r\n`;
  const { status, text } = await sendRaw(url, [head]);
  expect([status, text]).toEqual([400, expect.stringContaining(detail)]);
  await untilNothingIsLeft();
});

test("uploads that stall leave nothing, and make room, though their clients never close the connection", async () => {
  Object.assign(server, { headersTimeout: 300, requestTimeout: 300 });
  const { port } = server.address() as AddressInfo;
  const clients = [1, 2].map(() => connect({ port, host: "127.0.0.1", allowHalfOpen: true }));
  for (const stalled of clients) {
    stalled
      .resume()
      .write("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1");
  }
  await waitFor(() => underWay === 2, { description: "both uploads to begin" });
  await untilNothingIsLeft();
  expect(clients.map(({ destroyed }) => destroyed)).toEqual([false, false]);
  expect((await post("a", RAW)).status).toBe(200);
  for (const stalled of clients) stalled.destroy();
});

describe("an upload", () => {
  const content = randomBytes(90_000);

  test.each([
    ["the body of the request", content, RAW],
    ["a file of a form", fileForm(content).body, fileForm(content).headers],
    [
      "a file of a form under the name of a path",
      fileForm(content, "../../etc/passwd").body,
      fileForm("").headers,
    ],
    [
      "a file of a form under a name in Unicode",
      fileForm(content, "写真\u202e.jpg").body,
      fileForm("").headers,
    ],
    ["bytes of no type", content, { "content-type": "application/octet-stream" }],
  ])("arrives as it was sent: %s", async (_what, body, headers) => {
    const response = await post(body, headers);
    expect(response).toMatchObject({ status: 200, json: { hash: sha256(content) } });
    expect((response.json as { name: string }).name).toMatch(/\/[\da-f-]{36}$/);
    await untilNothingIsLeft();
  });

  test("arrives when its length is not announced", async () => {
    const response = await post(content, { ...RAW, "transfer-encoding": "chunked" });
    expect(response.json).toMatchObject({ hash: sha256(content) });
  });

  test("may have exactly the largest size, in a form too", async () => {
    const largest = randomBytes(LIMIT_BYTES);
    const form = fileForm(largest);
    expect((await post(largest, RAW)).status).toBe(200);
    expect((await post(form.body, form.headers)).json).toMatchObject({ hash: sha256(largest) });
  });

  test("is kept in a file that only its user may read, and only for as long as it is used", async () => {
    let seen: { mode: number; path: string } | undefined;
    use = async ({ path }) => {
      const { mode } = await stat(path);
      seen = { mode: mode & 0o777, path };
    };
    await post(content, RAW);
    expect(seen?.mode).toBe(0o600);
    await expect(stat(seen?.path ?? "")).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("arrives also when the system has removed the folder for temporary files, which had long been empty", async () => {
    for (const folder of await foldersOfSpool()) await rm(join(tmpdir(), folder), { recursive: true });
    expect((await post(content, RAW)).json).toMatchObject({ hash: sha256(content) });
    await untilNothingIsLeft();
  });

  test("is removed when what is done with it fails", async () => {
    use = () => Promise.reject(new Error("no"));
    expect((await post(content, RAW)).status).toBe(500);
    await untilNothingIsLeft();
  });
});

describe("a form", () => {
  const file: FormPart = { name: "file", content: "x", filename: "a.png" };

  test.each<[string, FormPart[], string, string]>([
    ["nothing in it", [], "file", "required"],
    ["a file in another field", [{ ...file, name: "image" }], "image", "unknown"],
    ["text in place of the file", [{ name: "file", content: "x" }], "file", "file"],
    ["another field before the file", [{ name: "id", content: "1" }, file], "id", "unknown"],
    [
      "another field after the file",
      [file, { name: "visibility", content: "private" }],
      "visibility",
      "unknown",
    ],
    ["two files", [file, file], "file", "single"],
    ["a second file in another field", [file, { ...file, name: "thumb" }], "file", "single"],
  ])("with %s is refused, and the field is named", async (_what, parts, field, rule) => {
    const { body, headers } = formOf(parts);
    const response = await post(body, headers);
    expect(response).toMatchObject({
      status: 400,
      json: { code: "VALIDATION_FAILED", errors: [{ field, rule }] },
    });
    await untilNothingIsLeft();
  });

  test.each([
    ["that does not say its boundary", "multipart/form-data", fileForm("x").body],
    ["with another boundary than it says", "multipart/form-data; boundary=other", fileForm("x").body],
    ["that is cut off", fileForm("x").headers["content-type"], fileForm("xxxxxxxx").body.subarray(0, -12)],
    ["that is no form", fileForm("x").headers["content-type"], Buffer.from("nonsense")],
    [
      "that is cut off in its headers",
      fileForm("x").headers["content-type"],
      fileForm("x").body.subarray(0, 40),
    ],
  ])("%s is refused", async (_what, type, body) => {
    const response = await post(body, { "content-type": type });
    expect(response).toMatchObject({ status: 400, json: { code: "MALFORMED_BODY" } });
    await untilNothingIsLeft();
  });

  test("with an empty file is refused", async () => {
    const { body, headers } = fileForm("");
    expect((await post(body, headers)).json).toMatchObject({ code: "MALFORMED_BODY" });
  });

  test("is refused when there is much more in it than a file", async () => {
    const { body, headers } = fileForm("x");
    const preamble = Buffer.alloc(LIMIT_BYTES + 70_000, "preamble\r\n");
    for (const padded of [Buffer.concat([preamble, body]), Buffer.concat([body, preamble])]) {
      const response = await post(padded, { ...headers, "transfer-encoding": "chunked" });
      expect(response).toMatchObject({ status: 413, json: { code: "PAYLOAD_TOO_LARGE" } });
    }
    await untilNothingIsLeft();
  });
});

test("a body without bytes is refused", async () => {
  expect((await client.post("/", undefined, RAW)).json).toMatchObject({ code: "MALFORMED_BODY" });
});

test.each([
  {},
  { "content-type": "application/json" },
  { "content-type": "text/html" },
  { "content-type": "multipart/mixed; boundary=x" },
  { "content-type": "application/x-www-form-urlencoded" },
  { "content-type": "image/png", "content-encoding": "gzip" },
  { "content-type": "image/" },
])("a body of another type is refused: %j", async (headers) => {
  const response = await client.request("POST", "/", { body: "x=1", headers });
  expect(response).toMatchObject({ status: 415, json: { code: "UNSUPPORTED_MEDIA_TYPE" } });
});

describe("an upload that is too large", () => {
  const head = (lines: string) => `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n${lines}\r\n\r\n`;

  test("is refused before it is sent when its length is announced", async () => {
    const response = await sendRaw(url, [head(`Content-Length: ${LIMIT_BYTES + 1}`)]);
    expect(response).toMatchObject({ status: 413, headers: { connection: "close" } });
    expect(response.text).toContain(`At most ${LIMIT_BYTES} bytes`);
  });

  test("is refused while it is sent when its length is not announced, and the rest is not waited for", async () => {
    const chunk = `${(LIMIT_BYTES + 1).toString(16)}\r\n${"x".repeat(LIMIT_BYTES + 1)}\r\n`;
    const response = await sendRaw(url, [head("Transfer-Encoding: chunked"), chunk]);
    expect(response).toMatchObject({ status: 413, headers: { connection: "close" } });
    await untilNothingIsLeft();
  });

  test("is refused in a form by the size of its file", async () => {
    const { body, headers } = fileForm(randomBytes(LIMIT_BYTES + 1));
    expect((await post(body, headers)).status).toBe(413);
    await untilNothingIsLeft();
  });
});

describe("a client that waits for the word to send its body", () => {
  const head = (type: string, length = 5) =>
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\nExpect: 100-continue\r\n\r\n`;

  test("gets it when the body is wanted", async () => {
    const request = openRequest(`${url}/`, {
      method: "POST",
      agent: false,
      headers: { ...RAW, expect: "100-continue", "content-length": 5 },
    });
    request.flushHeaders();
    await once(request, "continue");
    request.end("12345");
    const [response] = (await once(request, "response")) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    response.resume();
    await once(response, "end");
  });

  test.each([
    ["of a wrong type", head("text/plain"), 415],
    ["that is too large", head("image/png", LIMIT_BYTES + 1), 413],
  ])("is refused at once with a body %s", async (_what, text, status) => {
    const response = await sendRaw(url, [text]);
    expect(response.status).toBe(status);
    expect(response.text).not.toContain("HTTP/1.1");
  });
});

test("as many uploads as are allowed are taken at a time, and others told to come again", async () => {
  const gate = Promise.withResolvers<void>();
  use = () => gate.promise;
  const held = [post("x", RAW), post("x", RAW)];
  await waitFor(async () => (await filesInSpool()).length === 2, { description: "two uploads" });
  expect((await post("x", RAW)).json).toMatchObject({ code: "OVERLOADED" });
  gate.resolve();
  expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200]);
  expect((await post("x", RAW)).status).toBe(200);
});

describe("a client that goes away", () => {
  const form = fileForm(randomBytes(3000)).body.toString("latin1");
  const heads = {
    form: `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: ${fileForm("").headers["content-type"]}\r\n`,
    raw: "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n",
  };

  test.each([
    ["a form", heads.form],
    ["raw bytes", heads.raw],
  ])("in the middle of %s, at any point, leaves nothing", async (_what, head) => {
    for (let sent = 0; sent < form.length; sent += 113) {
      await sendAndAbort(url, `${head}Content-Length: ${form.length}\r\n\r\n${form.slice(0, sent)}`);
      await sendAndAbort(url, `${head}Transfer-Encoding: chunked\r\n\r\nffff\r\n${form.slice(0, sent)}`);
      await untilNothingIsLeft();
    }
    expect(new Set(refusals)).toEqual(new Set(["MALFORMED_BODY"]));
  });
});

test("what a killed process has left is removed by the next", async () => {
  const code = `import { UploadSpool } from "./services/api/upload-spool.ts";
    await new UploadSpool({ uploads: 1, bytes: 1 }).open(); process.kill(process.pid, "SIGKILL");`;
  const { pid } = spawnSync(process.execPath, ["--input-type=module-typescript", "-e", code]);
  const isLeft = async (): Promise<boolean> =>
    (await readdir(tmpdir())).some((name) => name.startsWith(`rollcall-uploads-${pid}-`));
  expect(await isLeft()).toBe(true);
  const next = new UploadSpool({ uploads: 1, bytes: 1 });
  await next.open();
  expect(await isLeft()).toBe(false);
  await next.close();
});
