import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  createServer,
  request as openRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** What goes wrong: every request is answered with 503, breaks off, is read and not answered, or is not even read; or answers stop in the middle, silently or with the connection. */
export type S3Fault = "none" | "busy" | "reset" | "silent" | "deaf" | "half-answer" | "broken-answer";

/** Stands in front of a server of the S3 protocol for faults that it cannot be made to have. */
export interface S3Proxy {
  readonly url: string;
  fault: S3Fault;
  /** Which requests it concerns, as in `requests`. All, by default. */
  concerns: (request: string) => boolean;
  /** Requests that have arrived. */
  readonly requests: readonly string[];
  /** Connections that are open. */
  connections(): Promise<number>;
  stop(): Promise<void>;
}

const BUSY = `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`;

const NO_MD5 = `<?xml version="1.0"?><Error><Code>MissingContentMD5</Code><Message>Content-MD5 is needed.</Message></Error>`;

/**
 * A request is passed on when it is whole: as S3, and other than the test server, it stores an object whole or not at all.
 * Removals need the checksum that S3 asks for, and it knows no other, as many servers of the protocol.
 */
export async function startS3Proxy(serverUrl: string): Promise<S3Proxy> {
  const requests: string[] = [];
  const server = createServer((incoming, response) => {
    const request = `${incoming.method} ${incoming.url}`;
    requests.push(request);
    void answer(incoming, response, serverUrl, proxy.concerns(request) ? proxy.fault : "none").catch(() =>
      response.destroy(),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy: S3Proxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fault: "none",
    concerns: () => true,
    requests,
    connections: () =>
      new Promise((resolve, reject) => {
        server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
      }),
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return proxy;
}

async function answer(
  incoming: IncomingMessage,
  response: ServerResponse,
  serverUrl: string,
  fault: S3Fault,
): Promise<void> {
  if (fault === "deaf") return;
  if (fault === "reset") {
    incoming.socket.resetAndDestroy();
    return;
  }
  const body = Buffer.concat(await Array.fromAsync(incoming as AsyncIterable<Buffer>));
  if (fault === "silent") return;
  if (fault === "busy") {
    response.writeHead(503, { "Content-Type": "application/xml" }).end(BUSY);
    return;
  }
  const { hostname, port } = new URL(serverUrl);
  const { method = "", url = "", headers } = incoming;
  if (method === "POST" && new URL(url, serverUrl).searchParams.has("delete") && !hasOnlyMd5(headers, body)) {
    response.writeHead(400, { "Content-Type": "application/xml" }).end(NO_MD5);
    return;
  }
  const outgoing = openRequest({ hostname, port, method, path: url, headers, agent: false });
  outgoing.end(body);
  const [upstream] = (await once(outgoing, "response")) as [IncomingMessage];
  const bytes = Buffer.concat(await Array.fromAsync(upstream as AsyncIterable<Buffer>));
  response.writeHead(upstream.statusCode ?? 0, upstream.headers);
  if (fault === "none" || bytes.length === 0) {
    response.end(bytes);
    return;
  }
  response.write(bytes.subarray(0, bytes.length / 2), () => {
    if (fault === "broken-answer") response.destroy();
  });
}

function hasOnlyMd5(headers: IncomingHttpHeaders, body: Buffer): boolean {
  const md5 = createHash("md5").update(body).digest("base64");
  return headers["content-md5"] === md5 && !Object.keys(headers).some((name) => name.includes("checksum"));
}
