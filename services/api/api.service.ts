import { randomUUID } from "node:crypto";
import compression from "compression";
import cors from "cors";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { CallingOptions, Context, Service, ServiceSchema } from "moleculer";
import ApiGateway from "moleculer-web";
import type { Node } from "../../bootstrap/node.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import { requireAccessEntries } from "../../lib/access.ts";
import { createHttpServer, drain, listen } from "../../lib/http-server.ts";
import type { PrincipalMeta } from "../../lib/principal.ts";
import type { AuthTransientEvents } from "../auth/auth.contract.ts";
import { accessLog } from "./access-log.ts";
import { externalIssuerOf } from "./external-tokens.ts";
import { ANONYMOUS, Guard } from "./guard.ts";
import { checkHealth } from "./health.ts";
import { healthHandlers } from "./health-handlers.ts";
import { createEventAnswers, type EventAnswers } from "./event-answers.ts";
import { RateLimits } from "./rate-limits.ts";
import { readRequestId } from "./request-parameters.ts";
import { sendProblem } from "./respond.ts";
import { restHandler, type GatewayRequest, type RestHandlerParts } from "./rest-handler.ts";
import { REST_ROUTES, routesByPath } from "./routes.ts";
import { securityHeaders } from "./security-headers.ts";
import { TokenVerifier } from "./token-verifier.ts";

/*
 * Owns the REST API: routes, representations, HTTP errors and the HTTP server. moleculer-web finds the route and gives
 * each request its context; how a request becomes a call and a result a response is in `rest-handler.ts`.
 */

interface Settings {
  rootCallOptions(options: CallingOptions, request: IncomingMessage): void;
  onError(request: IncomingMessage, response: ServerResponse, error: unknown): void;
  [option: string]: unknown;
}

interface Methods {
  createServer(): void;
  parseQueryString(request: IncomingMessage): { url: string; query: object };
}

interface Variables {
  server: Server;
  eventAnswers: EventAnswers;
  httpHandler(request: IncomingMessage, response: ServerResponse): void;
  addRoute(route: object): void;
  verifier: TokenVerifier;
}

type ApiService = Service<Settings> & Methods & Variables;
type Handler = (request: GatewayRequest, response: ServerResponse) => Promise<void>;

/** Of moleculer-web, all but its own way to listen and stop: it exits the process when the port is taken. */
const { started: _started, stopped: _stopped, ...gateway } = ApiGateway as unknown as ServiceSchema;

/** A whole request is not retried, counted or queued: the calls it makes are. */
const UNGUARDED = {
  retryPolicy: { enabled: false },
  circuitBreaker: { enabled: false },
  bulkhead: { enabled: false },
};

export function createApiService(node: Node): AppServiceSchema<Settings, Methods, Variables> {
  const { config, log, monitors } = node;

  const aliasesOf = (parts: RestHandlerParts, verifier: TokenVerifier): Record<string, Handler> => {
    const aliases: Record<string, Handler> = healthHandlers({
      check: () => checkHealth(parts.broker, monitors, verifier),
      isDraining: () => node.isStopping(),
      log,
    });
    requireAccessEntries([...REST_ROUTES, ...Object.keys(aliases).map((path) => ({ path }))]);
    for (const [path, routes] of routesByPath(REST_ROUTES)) aliases[path] = restHandler(routes, parts);
    return aliases;
  };

  return {
    name: "api",
    mixins: [gateway],
    // Listens when the other services of its node are up, so that its first answer is not a 503.
    dependencies: config.SERVICES.filter((name) => name !== "api"),
    settings: {
      port: config.PORT,
      ip: config.HOST,
      // The one route is added below. With an empty list, moleculer-web would publish every action there is.
      routes: null,
      logRequest: null,
      logRequestParams: null,
      logResponse: null,
      logRouteRegistration: null,
      rootCallOptions(options, request) {
        options.requestID = readRequestId(request) ?? randomUUID();
        // Until the handler knows better. A request that had no principal would act in the name of this node.
        options.meta = { principal: ANONYMOUS } satisfies PrincipalMeta;
        // A stop waits for tracked requests before it closes the server: under load there would always be one.
        options.tracking = false;
      },
      onError: (request, response, error) => sendProblem(request, response, error, log),
    },

    actions: {
      rest: UNGUARDED as never,
      // moleculer-web offers these to every node: they would list and change the routes.
      listAliases: false,
      addRoute: false,
      removeRoute: false,
    },

    events: {
      "auth-revoked": {
        handler(this: ApiService, ctx: Context<AuthTransientEvents["auth-revoked"]>) {
          this.verifier.endSessions(ctx.params.sessionIds);
        },
      },
      "events-appended": {
        handler(this: ApiService, ctx: Context<{ sequence: number }>) {
          this.eventAnswers.announce(ctx.params.sequence);
        },
      },
    },

    methods: {
      createServer(this: ApiService) {
        this.server ??= createHttpServer((request, response) => {
          if (node.isStopping()) response.setHeader("Connection", "close");
          this.httpHandler(request, response);
        });
      },
      /** Queries are read by the handler, strictly; moleculer-web only needs the path. */
      parseQueryString(request: IncomingMessage) {
        const url = request.url ?? "/";
        const end = url.indexOf("?");
        return { url: end === -1 ? url : url.slice(0, end), query: {} };
      },
    },

    created() {
      this.verifier = new TokenVerifier({ broker: this.broker, log, external: externalIssuerOf(config) });
      const { broker, verifier } = this;
      const limits = config.RATE_LIMIT === "on" ? new RateLimits(config, node.redis) : undefined;
      const guard = new Guard({ verifier, limits, isSignupOpen: config.SIGNUP === "open" });
      this.eventAnswers = createEventAnswers({ broker, guard, log });
      const parts = { broker, guard, limits, events: this.eventAnswers, log };
      // Ours reports what goes wrong while listening; moleculer-web's exits the process on the spot.
      this.server.removeAllListeners("error");
      this.addRoute({
        path: "/",
        mappingPolicy: "restrict",
        mergeParams: false,
        bodyParsers: false,
        use: [
          accessLog(log, node.metrics),
          securityHeaders,
          ifAsked("origin", corsOf(config.CORS_ORIGINS)),
          ifAsked("accept-encoding", compression() as Middleware),
        ],
        aliases: Object.fromEntries(
          Object.entries(aliasesOf(parts, verifier)).map(([path, handler]) => [`* ${path}`, handler]),
        ),
      });
    },

    async started() {
      // The node may have given up while the gateway waited for the services behind it.
      if (node.isStopping()) return;
      await this.verifier.start();
      await listen(this.server, config.HOST, { name: "PORT", port: config.PORT });
    },

    async stopped() {
      const { DRAIN_DELAY_MS: drainMs, STOP_DEADLINE_MS: stopMs } = config;
      // A client that never ends its upload may use half of the time: the other services need some too.
      await drain(this.server, drainMs, stopMs / 2 - drainMs, () => this.eventAnswers.close());
      this.verifier.stop();
    },
  };
}

type Middleware = (
  request: IncomingMessage,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

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
