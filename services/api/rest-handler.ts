import type { IncomingMessage, ServerResponse } from "node:http";
import type { CallingOptions, Context, ServiceBroker } from "moleculer";
import type { Logger } from "pino";
import type { CacheMeta } from "../../broker/cache/cacher.ts";
import { appError } from "../../broker/errors.ts";
import { IDEMPOTENCY_KEY_HEADER } from "../../broker/idempotency-key.middleware.ts";
import { JSON_TEXT_HEADER, JsonText } from "../../broker/json-text.ts";
import { fingerprint } from "../../lib/canonical-json.ts";
import { entityTag, expectedVersionsOf, knownTag } from "./entity-tag.ts";
import { callingOptions, type GatewayRequest, type RequestHandler } from "./gateway-request.ts";
import type { Guard } from "./guard.ts";
import type { ImageUploads } from "./image-uploads.ts";
import type { RateLimits } from "./rate-limits.ts";
import { negotiate, type Format } from "./representation.ts";
import { readBody } from "./request-body.ts";
import { joinParameters, readIdempotencyKey, readQuery, refuseAll } from "./request-parameters.ts";
import { sendAllowed, sendBody, sendEmpty, sendProblem } from "./respond.ts";
import type { Method, RestRoute } from "./rest-route.ts";

/** Answers a request on its own, beyond one call and one result. What it throws is answered as of every other. */
export type Answer = (request: GatewayRequest, response: ServerResponse) => Promise<void>;

/** What an action tells the gateway beside its result. */
interface ResponseMeta extends Pick<CacheMeta, "$cacheStatus"> {
  $isReplay?: boolean;
}

/** What the handlers of all paths share. */
export interface RestHandlerParts {
  broker: ServiceBroker;
  guard: Guard;
  /** Undefined: none. */
  limits: RateLimits | undefined;
  answers: Readonly<Record<NonNullable<RestRoute["answer"]>, Answer>>;
  uploads: ImageUploads;
  log: Logger;
}

/** Answers the requests of one path: finds the route for the method, calls its action, sends the result. */
export function restHandler(
  routes: ReadonlyMap<Method, RestRoute>,
  { broker, guard, limits, answers, uploads, log }: RestHandlerParts,
): RequestHandler {
  const allowed = allowedMethods(routes);

  return async function handle(request, response) {
    try {
      // HEAD is GET without the body, which Node leaves out by itself.
      const method = request.method === "HEAD" ? "GET" : request.method;
      const route = routes.get(method as Method);
      if (!route) {
        sendAllowed(request, response, allowed);
        return;
      }
      const { action } = route;
      const isRead = route.method === "GET";
      const principal = await guard.admit(request, response, { action, isRead, params: request.params });
      request.principal = principal;
      if (route.answer) {
        await answers[route.answer](request, response);
        return;
      }
      // Before the action, so that a write is not executed whose answer the client cannot take.
      const format = route.representation ? negotiate(request) : "json";
      const call = (params: Record<string, unknown>) => {
        const run = () => execute(broker, route, request, response, { params, format });
        return limits ? limits.guardPassword(response, { action, params, principal }, run) : run();
      };
      const { result, meta } = route.takesFile
        ? await uploads.take(request, call)
        : await call(isRead ? queryOf(request) : await readParameters(route, request));
      sendResult({ route, format, request, response, result, meta });
    } catch (error) {
      sendProblem(request, response, error, log);
    }
  };
}

function allowedMethods(routes: ReadonlyMap<Method, RestRoute>): string {
  const methods: string[] = [...routes.keys()];
  if (routes.has("GET")) methods.push("HEAD");
  return [...methods, "OPTIONS"].join(", ");
}

/** The parameters of a read. */
function queryOf(request: GatewayRequest): Record<string, unknown> {
  return joinParameters(readQuery(request.url), request.params);
}

/** Those of a change. */
async function readParameters(route: RestRoute, request: GatewayRequest): Promise<Record<string, unknown>> {
  const query = readQuery(request.url);
  if (!route.takesQuery) refuseAll(query);

  const body = await readBody(request, route.consumes ?? []);
  if (route.consumes && !body && !route.isBodyOptional)
    throw appError("MALFORMED_BODY", { detail: "A body is required." });
  const params = joinParameters(body ?? query, request.params);
  const expectedVersions = route.takesIfMatch ? expectedVersionsOf(request.headers["if-match"]) : undefined;
  if (expectedVersions) params["expectedVersions"] = expectedVersions;
  return params;
}

async function execute(
  broker: ServiceBroker,
  route: RestRoute,
  request: GatewayRequest,
  response: ServerResponse,
  { params, format }: { params: Record<string, unknown>; format: Format },
): Promise<{ result: unknown; meta: ResponseMeta }> {
  const options = optionsOf(request, route.method === "GET");
  // The gateway itself looks at nothing else of a page.
  if (route.representation?.kind === "page" && format === "json") {
    options.headers = { ...options.headers, [JSON_TEXT_HEADER]: "nextCursor" };
  }
  const call = broker.call(route.action, params, options) as Promise<unknown> & {
    ctx?: Context<unknown, ResponseMeta>;
  };
  try {
    const result = await call;
    return { result, meta: call.ctx?.meta ?? {} };
  } finally {
    // That something does not exist is cached too.
    if (route.method === "GET") setCacheStatus(response, call.ctx?.meta.$cacheStatus);
  }
}

/** Says whether the answer came from the cache (RFC 9211). */
function setCacheStatus(response: ServerResponse, status: string | undefined): void {
  if (status !== undefined) response.setHeader("Cache-Status", `rollcall; ${status}`);
}

function optionsOf(request: GatewayRequest, isRead: boolean): CallingOptions {
  const options: CallingOptions & { meta: CacheMeta } = callingOptions(request);
  if (isRead) {
    if (asksForFresh(request)) options.meta.$cache = false;
  } else {
    const key = readIdempotencyKey(request);
    if (key !== undefined) options.headers = { [IDEMPOTENCY_KEY_HEADER]: key };
  }
  return options;
}

/** `Cache-Control: no-cache` goes past the cache and past the replicas. */
function asksForFresh({ headers }: IncomingMessage): boolean {
  const directives = headers["cache-control"];
  return directives !== undefined && /(?:^|,)\s*no-cache\s*(?:,|$)/i.test(directives);
}

/** Kept by clients only, to be checked again with its ETag. */
const REVALIDATE = "private, no-cache";

interface Success {
  route: RestRoute;
  format: Format;
  request: GatewayRequest;
  response: ServerResponse;
  result: unknown;
  meta: ResponseMeta;
}

function sendResult({ route, format, request, response, result, meta }: Success): void {
  const { representation, status, cacheControl = REVALIDATE } = route;
  if (meta.$isReplay) response.setHeader("Idempotent-Replayed", "true");
  if (!representation) {
    sendEmpty(response, 204);
    return;
  }

  response.appendHeader("Vary", "Accept");
  response.setHeader("Cache-Control", cacheControl);
  if (representation.kind === "page") setLinks(request, response, nextCursorOf(result));
  if (representation.kind === "resource") {
    const { version } = result as { version: number };
    const tag = entityTag(representation.isTaggedByContent ? fingerprint(result) : version, format);
    const known = route.method === "GET" ? knownTag(request.headers["if-none-match"], tag) : undefined;
    response.setHeader("ETag", known ?? tag);
    if (known !== undefined) {
      sendEmpty(response, 304);
      return;
    }
  }
  if (route.location) response.setHeader("Location", (route.location as (result: unknown) => string)(result));
  sendBody(response, status, result as object, { format, xmlRoot: representation.xmlRoot });
}

function nextCursorOf(page: unknown): string | null {
  return page instanceof JsonText
    ? (page.member as string | null)
    : (page as { nextCursor: string | null }).nextCursor;
}

/** Links to the first and the next page (RFC 8288), with the same filters. */
function setLinks(request: GatewayRequest, response: ServerResponse, nextCursor: string | null): void {
  const [path = "", query] = request.url.split("?");
  const parameters = new URLSearchParams(query);
  const link = (relation: string) => {
    const text = parameters.toString();
    return `<${path}${text && `?${text}`}>; rel="${relation}"`;
  };
  parameters.delete("cursor");
  const links = [link("first")];
  if (nextCursor !== null) {
    parameters.set("cursor", nextCursor);
    links.push(link("next"));
  }
  response.setHeader("Link", links.join(", "));
}
