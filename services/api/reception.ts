import { randomUUID } from "node:crypto";
import cors from "cors";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Listener } from "../../lib/http-server.ts";
import { accessLog, type AccessLogParts } from "./access-log.ts";
import { compressor } from "./compress.ts";
import type { GatewayRequest, Middleware } from "./gateway-request.ts";
import { ANONYMOUS } from "./guard.ts";
import { MEDIA_PREFIX } from "./media.ts";
import { readRequestId } from "./request-parameters.ts";
import { IMAGE_SECURITY_HEADERS, SECURITY_HEADERS } from "./security-headers.ts";

interface ReceptionParts extends AccessLogParts {
  corsOrigins: readonly string[];
  /** The node is about to stop: clients are to find another one. */
  isDraining: () => boolean;
}

/**
 * Does what every request needs, whatever its path: gives it its id, logs and counts it, sets the headers that protect
 * browsers, and for those who ask, CORS and compression.
 *
 * @param serve gets the request then
 */
export function reception(
  { log, metrics, corsOrigins, isDraining }: ReceptionParts,
  serve: (request: GatewayRequest, response: ServerResponse) => void,
): Listener {
  const logWhenDone = accessLog({ log, metrics });
  const forBrowsers = ifAsked("origin", corsOf(corsOrigins));
  const compressText = ifAsked("accept-encoding", compressor());
  // Images are compressed already.
  const compress: Middleware = (request, response, next) =>
    isOfImage(request) ? next() : compressText(request, response, next);

  return (incoming, response) => {
    const request = incoming as GatewayRequest;
    request.id = readRequestId(request) ?? randomUUID();
    request.route = "unmatched";
    request.params = {};
    // Until the guard knows better. A call that had no principal would be made in the name of this node.
    request.principal = ANONYMOUS;
    logWhenDone(request, response);
    response.setFixedHeaders(isOfImage(request) ? IMAGE_SECURITY_HEADERS : SECURITY_HEADERS);
    if (isDraining()) response.setHeader("Connection", "close");
    response.setHeader("X-Request-Id", request.id);
    forBrowsers(request, response, () => compress(request, response, () => serve(request, response)));
  };
}

function isOfImage({ url }: Pick<IncomingMessage, "url">): boolean {
  return url?.startsWith(MEDIA_PREFIX) ?? false;
}

/** Spares requests without the header the cost of a middleware that has nothing to do for them. */
function ifAsked(header: "origin" | "accept-encoding", middleware: Middleware): Middleware {
  return (request, response, next) => {
    if (request.headers[header] === undefined) next();
    else middleware(request, response, next);
  };
}

/** CORS for exactly these origins; others get no CORS headers, so browsers keep the answer from them. */
function corsOf(origins: readonly string[]) {
  const allowed = new Set(origins);
  return cors({
    origin: (origin, answer) => answer(null, origin !== undefined && allowed.has(origin)),
    methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    exposedHeaders: [
      "Cache-Status",
      "ETag",
      "Idempotent-Replayed",
      "Link",
      "Location",
      "RateLimit",
      "RateLimit-Policy",
      "Retry-After",
      "WWW-Authenticate",
      "X-Request-Id",
    ],
    maxAge: 600,
  });
}
