import { once } from "node:events";
import type { Server, ServerResponse } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { promisify } from "node:util";

import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";

import { createHttpServer, drain } from "../../../lib/http-server.ts";
import { waitFor } from "../../support/wait-for.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/** Far more than sockets take for a client that reads nothing. */
const MUCH = Buffer.alloc(16_000_000, "a");
const SOON_MS = 300;

let server: Server;
let clients: Socket[];
/** How requests are answered. */
let answer: (response: ServerResponse) => void;

beforeEach(async () => {
  clients = [];
  answer = (response) => response.end("answered");
  server = createHttpServer((request, response) => {
    request.resume();
    answer(response);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
});

afterEach(async () => {
  jest.useRealTimers();
  for (const client of clients) client.destroy();
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
});

/** A client that sends this, and never closes its side of the connection. */
async function send(text: string): Promise<Socket> {
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  clients.push(client);
  await once(client, "connect");
  client.on("error", () => undefined).write(text);
  return client;
}

/** What a client gets until its connection ends, of which it keeps its own side. */
async function receive(client: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  client.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(client, "end");
  return Buffer.concat(chunks).toString();
}

const countConnections = (): Promise<number> => promisify(server.getConnections.bind(server))();
const untilNoConnections = () =>
  waitFor(async () => (await countConnections()) === 0, { description: "no connection to be left" });

test("clients that never close their connections are told why they are refused, and disconnected", async () => {
  Object.assign(server, { headersTimeout: SOON_MS, requestTimeout: SOON_MS });
  answer = () => undefined;
  const requests = {
    "": 408,
    "GET / HTTP/1.1\r\nHost: a\r\nX-": 408,
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1": 408,
    "\0\u0001\u0002\r\n\r\n": 400,
    "GET / HTTP/1.1\r\n\r\n": 400,
    [`GET / HTTP/1.1\r\nHost: a\r\nX-A: ${"a".repeat(17_000)}\r\n\r\n`]: 431,
  };
  const refuse = async ([request, status]: [string, number]): Promise<void> => {
    const text = await receive(await send(request));
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} .*"status":${status}`, "s"));
  };
  await Promise.all(Object.entries(requests).map(refuse));
  await untilNoConnections();
});

test("a client that goes on sending after it was refused gets the answer", async () => {
  // However long it takes here, it is soon.
  jest.useFakeTimers({ doNotFake: ["nextTick", "setImmediate", "queueMicrotask"] });
  const client = await send("\0\r\n\r\n");
  for (let count = 0; count < 3; count += 1) {
    await once(server, "clientError");
    client.write("\0\r\n\r\n");
  }
  expect(await receive(client)).toMatch(/^HTTP\/1\.1 400 .*\}$/s);
  jest.runAllTimers();
  jest.useRealTimers();
  await untilNoConnections();
});

test("a request that cannot be read ends the answer to the one before, and leaves it as it is", async () => {
  answer = (response) => {
    response.writeHead(200, { "Content-Length": 1000 }).write("the beginning");
  };
  const client = await send(GET);
  const received = receive(client);
  await once(client, "data");
  client.write("\0\r\n\r\n");
  expect(await received).toMatch(/\r\n\r\nthe beginning$/);
  await untilNoConnections();
});

test("a request without Host is refused in its turn, after the answers to those before", async () => {
  answer = (response) => void setImmediate(() => response.end("answered"));
  const text = await receive(await send(`${GET}${GET}GET / HTTP/1.1\r\n\r\n`));
  expect(text.match(/HTTP\/1\.1 \d+|answered/g)).toEqual([
    "HTTP/1.1 200",
    "answered",
    "HTTP/1.1 200",
    "answered",
    "HTTP/1.1 400",
  ]);
  await untilNoConnections();
});

describe("a client that takes nothing of its answer is disconnected", () => {
  let response: Promise<ServerResponse>;

  beforeEach(() => {
    server.timeout = SOON_MS;
    ({ promise: response, resolve: answer } = Promise.withResolvers<ServerResponse>());
  });

  test.each(["close", "keep-alive"])("with Connection: %s", async (connection) => {
    const client = await send(`GET / HTTP/1.1\r\nHost: a\r\nConnection: ${connection}\r\n\r\n`);
    client.pause();
    await once((await response).end(MUCH), "close");
    expect((await response).writableFinished).toBe(false);
  });

  test("but not while it waits for one that takes long", async () => {
    const client = await send(GET);
    client.pause();
    await once(server, "timeout");
    expect((await response).socket?.destroyed).toBe(false);
    await once((await response).end(MUCH), "close");
    expect((await response).writableFinished).toBe(false);
  });
});

test("a client may take nothing of its answer for half a minute", () => {
  expect(server.timeout).toBe(30_000);
});

test("a connection on which nothing is asked for any more is closed", async () => {
  Object.assign(server, { keepAliveTimeout: SOON_MS, keepAliveTimeoutBuffer: 0 });
  expect(await receive(await send(GET))).toMatch(/answered$/);
  await untilNoConnections();
});

test("a server that stops lets clients take what they are slow to take, and keeps none that is idle", async () => {
  answer = (response) => response.end("little");
  const idle = await send(GET);
  await once(idle.resume(), "data");
  answer = (response) => response.end(MUCH);
  const client = await send(GET);
  await once(client, "readable");
  const drained = drain(server, 0, 30_000);
  await once(idle, "end");
  const answered = await receive(client);
  expect(answered.length).toBeGreaterThan(MUCH.length);
  client.destroy();
  await drained;
});
