import { AUTH_ROUTES } from "./auth-routes.ts";
import { CACHE_ROUTES } from "./cache-routes.ts";
import { EVENT_ROUTES } from "./event-routes.ts";
import { IMAGE_ROUTES } from "./image-routes.ts";
import type { Method, RestRoute } from "./rest-route.ts";
import { USER_ROUTES } from "./user-routes.ts";

/** Every route of the REST API. */
export const REST_ROUTES: readonly RestRoute[] = [
  ...AUTH_ROUTES,
  ...EVENT_ROUTES,
  ...USER_ROUTES,
  ...IMAGE_ROUTES,
  ...CACHE_ROUTES,
];

/** The routes by path, for the gateway: it finds the path first, and then knows which methods it has. */
export function routesByPath(routes: readonly RestRoute[]): Map<string, Map<Method, RestRoute>> {
  const byPath = new Map<string, Map<Method, RestRoute>>();
  for (const route of routes) {
    const methods = byPath.get(route.path) ?? new Map<Method, RestRoute>();
    methods.set(route.method, route);
    byPath.set(route.path, methods);
  }
  return byPath;
}
