import {
  createServer,
  STATUS_CODES,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { ErrorCode } from "./error-catalogue.ts";
import { newId } from "./ids.ts";
import { ListedHeadersResponse } from "./listed-headers.ts";
import { toProblem } from "./problem.ts";
import { StartupError } from "./startup-error.ts";

/** Answers a request. */
export type Listener = (request: IncomingMessage, response: ListedHeadersResponse) => void;

/** For so long a client that is refused while it sends may go on, in vain. */
export const LINGER_MS = 2000;

/** For so long a client may take nothing of an answer. */
const STALL_MS = 30_000;

/** An HTTP server that slow, silent or greedy clients cannot hold, and that refuses with problem documents. */
export function createHttpServer(handler: Listener): Server {
  const listener: Listener = (request, response) => {
    const lacksHost = request.httpVersion === "1.1" && request.headers.host === undefined;
    if (lacksHost) {
      const refuseIt = (): void => refuse(request.socket, "MALFORMED_REQUEST");
      // It gets the socket when those that the client has sent before it are answered.
      if (response.socket) refuseIt();
      else response.once("socket", refuseIt);
      return;
    }
    request.url = originForm(request.url ?? "/");
    handler(request, response);
  };
  const server = createServer(
    {
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      connectionsCheckingInterval: 2000,
      // Longer than the 60 s after which common load balancers drop an idle connection, so that they do it first.
      keepAliveTimeout: 65_000,
      maxHeaderSize: 16_384,
      // Node would answer with an empty body.
      requireHostHeader: false,
      ServerResponse: ListedHeadersResponse,
      // Most requests have no body, and a stream that is read to its end costs a twelfth of an answer. Theirs has ended
      // (`readableEnded`) before anybody can hear of it.
      optimizeEmptyRequests: true,
    },
    listener,
  );
  server.maxConnections = 20_000;
  server.on("clientError", answerClientError);
  server.timeout = STALL_MS;
  server.on("timeout", (socket: Socket) => {
    // With nothing to take, the client waits for an answer; unless the time is that of connections which are kept alive.
    const isWaiting = socket.writableLength === 0 && socket.timeout === server.timeout;
    if (!isWaiting) socket.destroy();
  });
  spareSlowReaders(server);
  // Node would answer 417, with an empty body; an expectation that is not known may be ignored (RFC 9110, 10.1.1).
  server.on("checkExpectation", listener);
  server.on("checkContinue", (request, response) => {
    // Only when somebody reads the body: what is refused without it, the client need not send (RFC 9110, 10.1.1).
    request.once("resume", () => {
      if (!response.headersSent) response.writeContinue();
    });
    listener(request, response);
  });
  return server;
}

/** Node takes a connection for idle once its answer has ended, though the client has yet to take the rest of it. */
function spareSlowReaders(server: Server): void {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const closeIdle = server.closeIdleConnections.bind(server);
  server.closeIdleConnections = () => {
    const slow = [...sockets].filter(({ writableLength }) => writableLength > 0);
    for (const socket of slow) socket.destroy = () => socket;
    closeIdle();
    // The one of its class is theirs again.
    for (const socket of slow) Reflect.deleteProperty(socket, "destroy");
  };
}

/** The target of a request without scheme and host, which a client that takes us for a proxy sends (RFC 9112, 3.2.2). */
function originForm(target: string): string {
  if (target.startsWith("/")) return target;
  const pathAndQuery = /^https?:\/\/[^/?#]+(.*)$/i.exec(target)?.[1];
  if (pathAndQuery === undefined) return target;
  return pathAndQuery.startsWith("/") ? pathAndQuery : `/${pathAndQuery}`;
}

/**
 * @param setting the port and the name under which it is configured
 * @throws StartupError when the address cannot be used
 */
export async function listen(
  server: Server,
  host: string,
  { name, port }: { name: string; port: number },
): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason =
      code === "EADDRINUSE"
        ? `${name} ${port} on ${host} is already in use. Stop what uses it, or set ${name} to another one.`
        : code === "EACCES"
          ? `${name} ${port} needs privileges that this process does not have. Set ${name} to 1024 or above.`
          : `HOST ${host}, ${name} ${port} cannot be used: ${message}`;
    throw new StartupError(reason, { cause: error });
  }
}

/**
 * Stops a server without losing a request: it goes on answering for `drainDelayMs`, in which load balancers learn
 * that it is leaving, then takes no new connection and lets the requests under way finish.
 *
 * @param endOpenAnswers ends those that have no end of their own. Only after the delay: their clients come back at once,
 *   and then must not come back here
 */
export async function drain(
  server: Server,
  drainDelayMs: number,
  deadlineMs: number,
  endOpenAnswers?: () => void,
): Promise<void> {
  if (!server.listening) return;
  await delay(drainDelayMs);
  endOpenAnswers?.();
  // One stalled upload would keep the server open for as long as its client likes.
  const timer = setTimeout(() => server.closeAllConnections(), deadlineMs);
  await closeServer(server);
  clearTimeout(timer);
}

const SWEEP_INTERVAL_MS = 50;

/** Takes no new connection and waits until the requests under way are answered. */
async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  // Again and again: one that is busy now is idle once it is answered, and its client may keep it open.
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_INTERVAL_MS);
  await closed;
  clearInterval(sweep);
}

const CLIENT_ERRORS: Readonly<Record<string, ErrorCode>> = {
  ERR_HTTP_REQUEST_TIMEOUT: "REQUEST_TOO_SLOW",
  HPE_HEADER_OVERFLOW: "HEADERS_TOO_LARGE",
};

/** Answers what Node's parser could not read, with a problem document like everything else. */
function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET") socket.destroy();
  // Else it is about to be closed, and what else arrives is of no interest.
  else if (socket.writable) refuse(socket, CLIENT_ERRORS[error.code ?? ""] ?? "MALFORMED_REQUEST");
}

/** Ends a connection; with a problem document, unless that would get into an answer which has begun. */
function refuse(socket: Socket, code: ErrorCode): void {
  // oxlint-disable-next-line no-underscore-dangle -- the name is Node's, which looks at it for the same reason
  const underWay = (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage;
  if (underWay?.headersSent) socket.end();
  else socket.end(refusalText(code));
  // The client may never close its side, and Node tells of a connection that is too slow only once. Not at once, as bytes
  // for a connection that is closed reset it, and the client may lose the answer with it (RFC 9112, 9.6).
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
}

function refusalText(code: ErrorCode): string {
  const problem = toProblem({ type: code }, { instance: "", requestId: newId() });
  const body = JSON.stringify(problem);
  return [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    "Content-Type: application/problem+json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${problem.requestId}`,
    "Connection: close",
    "",
    body,
  ].join("\r\n");
}
