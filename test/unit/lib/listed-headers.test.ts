import { once } from "node:events";
import { createServer, request as send, ServerResponse, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

import { describe, expect, test } from "@jest/globals";

import { FixedHeaders, ListedHeadersResponse } from "../../../lib/listed-headers.ts";

type Use = (response: ServerResponse) => unknown;

/** What a client gets, and what `use` gives, of a response of this class. */
async function answerOf(Response: typeof ServerResponse, use: Use) {
  let seen: unknown;
  const server = createServer({ ServerResponse: Response }, (_request, response) => {
    response.sendDate = false;
    try {
      seen = use(response);
    } catch (error) {
      seen = (error as NodeJS.ErrnoException).code;
    }
    response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const sent = send({ port, host: "127.0.0.1", agent: false }).end();
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  answer.resume();
  await once(answer, "end");
  server.close();
  const { statusCode, statusMessage, rawHeaders } = answer;
  return { statusCode, statusMessage, rawHeaders, seen };
}

const USES: Readonly<Record<string, Use>> = {
  "nothing set": () => undefined,
  "headers, in their order and spelling": (response) => {
    response.setHeader("X-One", "1");
    response.setHeader("x-two", 2);
  },
  "a header set again, in another spelling": (response) => {
    response.setHeader("X-One", "1");
    response.setHeader("X-Two", "2");
    response.setHeader("x-one", "other");
  },
  "several values": (response) => {
    response.setHeader("Set-Cookie", ["a=1", "b=2"]);
    response.appendHeader("set-cookie", "c=3");
    response.appendHeader("Vary", "Accept");
    response.appendHeader("Vary", ["Origin", "Cookie"]);
    return response.getHeader("VARY");
  },
  "headers of a map": (response) => {
    response.setHeaders(new Map([["X-One", "1"]]));
    return [response.getHeaders()["x-one"], response.getHeaderNames(), response.hasHeader("X-ONE")];
  },
  "a header removed": (response) => {
    response.setHeader("X-One", "1");
    response.setHeader("X-Two", "2");
    response.removeHeader("x-ONE");
    response.removeHeader("x-three");
    return [response.hasHeader("X-One"), response.getHeader("X-One"), response.getHeaderNames()];
  },
  "further headers with the status": (response) => {
    response.setHeader("X-One", "1");
    response.setHeader("X-Two", "2");
    response.writeHead(201, { "x-two": "other", "X-Three": "3" });
    return response.getHeader("x-three");
  },
  "a reason and a list": (response) => {
    response.setHeader("X-One", "1");
    response.writeHead(202, "Later", ["X-Two", "2", "X-Three", "3"]);
  },
  "a connection that is to be closed": (response) => {
    response.setHeader("Connection", "close");
  },
  "a status without a body": (response) => {
    response.setHeader("Content-Length", "7");
    response.statusCode = 304;
  },
  "a header after the headers were sent": (response) => {
    response.setHeader("X-One", "1");
    response.flushHeaders();
    response.setHeader("X-Two", "2");
  },
  "a header removed after they were sent": (response) => {
    response.setHeader("X-One", "1");
    response.flushHeaders();
    response.removeHeader("X-One");
  },
  "a value that would smuggle in another header": (response) => {
    response.setHeader("X-One", "1\r\nX-Two: 2");
  },
  "no value": (response) => {
    response.setHeader("X-One", undefined as unknown as string);
  },
  "a name that is none": (response) => {
    response.setHeader("X One", "1");
  },
  "a value beyond ASCII": (response) => {
    response.setHeader("X-One", "\u00e9\t");
  },
  "a file name beyond ASCII": (response) => {
    response.setHeader("Content-Length", 0);
    response.setHeader("Content-Disposition", 'attachment; filename="\u00e9"');
  },
  "fixed headers, and others": (response) => {
    setFixed(response);
    response.setHeader("X-One", "1");
  },
  "a fixed header set again": (response) => {
    setFixed(response);
    response.setHeader("X-One", "1");
    response.setHeader("x-frame-options", "SAMEORIGIN");
  },
  "a fixed header with a further value": (response) => {
    setFixed(response);
    response.appendHeader("X-FRAME-OPTIONS", "SAMEORIGIN");
  },
  "a fixed header removed": (response) => {
    setFixed(response);
    response.removeHeader("x-frame-options");
  },
  "fixed headers that are looked at": (response) => {
    setFixed(response);
    response.setHeader("X-One", "1");
    const { "x-frame-options": one } = response.getHeaders();
    return [
      one,
      response.getHeader("X-Powered-By"),
      response.hasHeader("X-Frame-Options"),
      response.getHeaderNames(),
    ];
  },
};

const FIXED = new Map([
  ["X-Frame-Options", "DENY"],
  ["X-Powered-By", "work"],
]);

function setFixed(response: ServerResponse): void {
  if (response instanceof ListedHeadersResponse) response.setFixedHeaders(new FixedHeaders(FIXED));
  else response.setHeaders(FIXED);
}

describe("a response with listed headers", () => {
  test.each(Object.entries(USES))("is like one of Node: %s", async (_name, use) => {
    const expected = await answerOf(ServerResponse, use);
    await expect(answerOf(ListedHeadersResponse, use)).resolves.toEqual(expected);
  });

  test("takes no fixed headers that would smuggle in others", () => {
    expect(() => new FixedHeaders(new Map([["X-One", "1\r\nX-Two: 2"]]))).toThrow(/X-One/);
    expect(() => new FixedHeaders(new Map([["X-One: 1\r\nX-Two", "2"]]))).toThrow(/X-One/);
  });
});
