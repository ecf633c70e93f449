import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { CallingOptions, Context, Service, ServiceSchema } from "moleculer";
import ApiGateway from "moleculer-web";
import type { Node } from "../../bootstrap/node.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import { requireAccessEntries } from "../../lib/access.ts";
import { call } from "../../lib/contracts.ts";
import { createHttpServer, drain, listen, type Listener } from "../../lib/http-server.ts";
import type { MediaFile } from "../../lib/media-path.ts";
import type { AuthTransientEvents } from "../auth/auth.contract.ts";
import { clientReader } from "./client-address.ts";
import { DIRECT_UPLOAD_PATH, directUploadHandler } from "./direct-uploads.ts";
import { externalIssuerOf } from "./external-tokens.ts";
import { callingOptions, type GatewayRequest, type RequestHandler } from "./gateway-request.ts";
import { Guard } from "./guard.ts";
import { checkHealth } from "./health.ts";
import { healthHandlers } from "./health-handlers.ts";
import { createEventAnswers, type EventAnswers } from "./event-answers.ts";
import { imageContent } from "./image-content.ts";
import { ImageUploads } from "./image-uploads.ts";
import { MEDIA_PREFIX, MEDIA_ROUTES, Media } from "./media.ts";
import { pathFinder } from "./path-finder.ts";
import { RateLimits } from "./rate-limits.ts";
import { reception } from "./reception.ts";
import { sendProblem } from "./respond.ts";
import { restHandler, type RestHandlerParts } from "./rest-handler.ts";
import { REST_ROUTES, routesByPath } from "./routes.ts";
import { TokenVerifier } from "./token-verifier.ts";

/*
 * Owns the REST API: routes, representations, HTTP errors and the HTTP server. moleculer-web finds the handler of a
 * request; in front of it is a table of the paths that are written as we write them. Both lead to the same handlers, the
 * table at a fifth of the cost. How a request becomes a call and a result a response is in `rest-handler.ts`.
 */

/** A request as moleculer-web hands it on. */
type RoutedRequest = GatewayRequest & { $params: { params: Record<string, string> } };

interface Settings {
  rootCallOptions(options: CallingOptions, request: GatewayRequest): void;
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
  uploads: ImageUploads;
  /** Of moleculer-web: finds the alias of a request. */
  httpHandler(request: IncomingMessage, response: ServerResponse): void;
  receive: Listener;
  addRoute(route: object): void;
  verifier: TokenVerifier;
}

type ApiService = Service<Settings> & Methods & Variables;

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

  const handlersOf = (parts: RestHandlerParts, verifier: TokenVerifier): Record<string, RequestHandler> => {
    const handlers: Record<string, RequestHandler> = {
      ...healthHandlers({
        check: () => checkHealth(parts.broker, monitors, verifier),
        isDraining: () => node.isStopping(),
        log,
      }),
      [DIRECT_UPLOAD_PATH]: directUploadHandler(parts, node.secret),
    };
    requireAccessEntries([
      ...REST_ROUTES,
      ...[...Object.keys(handlers), ...MEDIA_ROUTES].map((path) => ({ path })),
    ]);
    for (const [path, routes] of routesByPath(REST_ROUTES)) handlers[path] = restHandler(routes, parts);
    return handlers;
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
        Object.assign(options, callingOptions(request));
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
        this.server ??= createHttpServer((request, response) => this.receive(request, response));
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
      const { storage, secret } = node;
      const limits = config.RATE_LIMIT === "on" ? new RateLimits(config, node.redis) : undefined;
      const guard = new Guard({ verifier, limits, isSignupOpen: config.SIGNUP === "open" });
      this.eventAnswers = createEventAnswers({ broker, guard, log });
      const { IMAGE_UPLOADS_MAX: uploadsMax, TRUST_PROXY: proxies } = config;
      const clientOf = clientReader(proxies);
      this.uploads = new ImageUploads({ storage, uploadsMax, clientOf, log });
      const parts: RestHandlerParts = {
        broker,
        guard,
        limits,
        answers: { ...this.eventAnswers, imageContent: imageContent(broker, config.IMAGE_PRESETS) },
        uploads: this.uploads,
        log,
      };
      // Ours reports what goes wrong while listening; moleculer-web's exits the process on the spot.
      this.server.removeAllListeners("error");
      const handlers = handlersOf(parts, verifier);
      const find = pathFinder(handlers);
      const receptionParts = {
        log,
        metrics: node.metrics,
        corsOrigins: config.CORS_ORIGINS,
        isDraining: () => node.isStopping(),
      };
      const render = (file: MediaFile) => call(broker, "images.render", file);
      const media = new Media({ storage, secret, config, limits, clientOf, log, render });
      this.receive = reception(receptionParts, (request, response) => {
        if (request.url.startsWith(MEDIA_PREFIX)) {
          void media.answer(request, response);
          return;
        }
        const found = find(request.url);
        if (!found) {
          this.httpHandler(request, response);
          return;
        }
        const { target, route, params } = found;
        void target(Object.assign(request, { route, params }), response);
      });
      this.addRoute({
        path: "/",
        mappingPolicy: "restrict",
        mergeParams: false,
        // Paths are told apart by the case of their letters (RFC 3986, 6.2.2.1), as the table does.
        pathToRegexpOptions: { sensitive: true },
        bodyParsers: false,
        aliases: Object.fromEntries(
          Object.entries(handlers).map(([route, handle]) => [
            `* ${route}`,
            (request: RoutedRequest, response: ServerResponse) =>
              handle(Object.assign(request, { route, params: request.$params.params }), response),
          ]),
        ),
      });
    },

    async started() {
      // The node may have given up while the gateway waited for the services behind it.
      if (node.isStopping()) return;
      await Promise.all([this.verifier.start(), this.uploads.open()]);
      await listen(this.server, config.HOST, { name: "PORT", port: config.PORT });
    },

    async stopped() {
      const { DRAIN_DELAY_MS: drainMs, STOP_DEADLINE_MS: stopMs } = config;
      // A client that never ends its upload may use half of the time: the other services need some too.
      await drain(this.server, drainMs, stopMs / 2 - drainMs, () => this.eventAnswers.close());
      this.verifier.stop();
      await this.uploads.close();
    },
  };
}
