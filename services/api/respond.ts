import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { JsonText } from "../../broker/json-text.ts";
import { appError } from "../../broker/errors.ts";
import { LINGER_MS } from "../../lib/http-server.ts";
import { toProblem } from "../../lib/problem.ts";
import { negotiateProblem, toXml, type Format } from "./representation.ts";

/**
 * Seconds after which a client may try again when something is away or taken: about as long as a hand-over takes, or an
 * upload.
 */
const RETRY_AFTER_SECONDS = 2;

/** Sends `value`, which may be JSON already if that is the format, as the body in the format that the client wants. */
export function sendBody(
  response: ServerResponse,
  status: number,
  value: object,
  { format, xmlRoot }: { format: Format; xmlRoot: string },
): void {
  const body = format === "json" ? toJson(value) : toXml(xmlRoot, value);
  response.setHeader(
    "Content-Type",
    format === "json" ? "application/json; charset=utf-8" : "application/xml",
  );
  finish(response, status, body);
}

/** Of what is frozen, as all is that caches keep: the same objects are sent again and again. */
const knownTexts = new WeakMap<object, string>();

function toJson(value: object): string | Buffer {
  if (value instanceof JsonText) return value.bytes;
  const known = knownTexts.get(value);
  if (known !== undefined) return known;
  const text = JSON.stringify(value);
  if (Object.isFrozen(value)) knownTexts.set(value, text);
  return text;
}

export function sendEmpty(response: ServerResponse, status: 204 | 304): void {
  response.statusCode = status;
  response.end();
}

/** `Allow` of what can only be read. */
export const READ_METHODS = "GET, HEAD, OPTIONS";

/**
 * Answers a method that a path does not have: OPTIONS with the ones it has (RFC 9110, 9.3.7).
 *
 * @param allowed as in `Allow`
 * @throws METHOD_NOT_ALLOWED for any other
 */
export function sendAllowed({ method }: IncomingMessage, response: ServerResponse, allowed: string): void {
  response.setHeader("Allow", allowed);
  if (method !== "OPTIONS") throw appError("METHOD_NOT_ALLOWED", { detail: `Allowed here: ${allowed}.` });
  sendEmpty(response, 204);
}

/** Sends the problem document of an error. An error that nobody expected is logged: the document does not show it. */
export function sendProblem(
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
  log: Logger,
): void {
  const problem = toProblem(error, {
    // Without the query, which may hold personal data.
    instance: pathOf(request),
    requestId: String(response.getHeader("X-Request-Id") ?? ""),
  });
  if (problem.code === "INTERNAL_ERROR") {
    log.error({ err: error, requestId: problem.requestId }, "unexpected error");
  }
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const format = negotiateProblem(request);
  const body = format === "json" ? JSON.stringify(problem) : toXml("problem", problem, "urn:ietf:rfc:7807");
  response.setHeader("Content-Type", `application/problem+${format}`);
  response.setHeader("Cache-Control", "no-store");
  if (problem.status === 401 && !response.hasHeader("WWW-Authenticate")) challenge(response);
  // What counts requests knows better.
  const isLater = problem.status === 503 || problem.status === 429;
  if (isLater && !response.hasHeader("Retry-After")) response.setHeader("Retry-After", RETRY_AFTER_SECONDS);
  // Without a body there is nothing to come, before Node's parser says so.
  if (request.complete || request.readableEnded) finish(response, problem.status, body);
  else finishEarly(request, response, problem.status, body);
}

/** Says how to authenticate (RFC 9110, 11.6.1) and, in the terms of RFC 6750, what was wrong. */
export function challenge(response: ServerResponse, error?: string, scope?: string): void {
  const parameters = Object.entries({ realm: "rollcall", error, scope })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}="${value}"`);
  response.setHeader("WWW-Authenticate", `Bearer ${parameters.join(", ")}`);
}

export function pathOf(request: IncomingMessage): string {
  const url = request.url ?? "";
  const end = url.indexOf("?");
  return end === -1 ? url : url.slice(0, end);
}

function finish(response: ServerResponse, status: number, body: string | Buffer): void {
  response.statusCode = status;
  response.setHeader("Content-Length", Buffer.byteLength(body));
  response.end(body);
}

/**
 * Answers a request that is still arriving, and closes its connection: what is left of its body would be taken for the
 * next request. Not at once, as bytes for a connection that is closed reset it, and the client may lose the answer with
 * it (RFC 9112, 9.6): for a moment they are taken and thrown away.
 */
function finishEarly(request: IncomingMessage, response: ServerResponse, status: number, body: string): void {
  response.statusCode = status;
  response.setHeader("Content-Length", Buffer.byteLength(body));
  response.setHeader("Connection", "close");
  // The whole answer, as its length says.
  response.write(body);
  const end = () => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(end, LINGER_MS);
  request.once("end", end).once("close", end);
  request.resume();
}
