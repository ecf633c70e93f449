import type { ActionMap, ActionName } from "../../lib/contracts.ts";

export const API_PREFIX = "/api/v1";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** A route of the REST API: which action answers it, and how its result becomes a response. */
export type RestRoute = {
  [Name in ActionName]: {
    method: Method;
    /** Below {@link API_PREFIX}; `:name` is a path parameter, passed on under that name. */
    path: string;
    action: Name;
    /** Status of success. */
    status: 200 | 201 | 204;
    /** What the body is, if it has one: a resource has an ETag, a page has links. Also the root element in XML. */
    representation?: { kind: "resource" | "page"; xmlRoot: string };
    /** Of a created resource. */
    location?: (result: ActionMap[Name]["result"]) => string;
    /** Media types that the request body may have; none: the route takes no body. */
    consumes?: readonly string[];
    /** The action takes `expectedVersions`, so the route honours `If-Match`. */
    takesIfMatch?: boolean;
  };
}[ActionName];

const JSON_BODY = ["application/json"];
const PATCH_BODY = ["application/json", "application/merge-patch+json"];

const USER = { kind: "resource", xmlRoot: "user" } as const;
const USERS = { kind: "page", xmlRoot: "users" } as const;

/** The users, below `/users` and, since a profile is a user, below `/profiles`. */
function userRoutes(base: string): RestRoute[] {
  const one = `${base}/:id`;
  return [
    {
      method: "POST",
      path: base,
      action: "users.create",
      status: 201,
      representation: USER,
      location: ({ id }) => `${API_PREFIX}${base}/${id}`,
      consumes: JSON_BODY,
    },
    { method: "GET", path: base, action: "users.list", status: 200, representation: USERS },
    { method: "GET", path: one, action: "users.get", status: 200, representation: USER },
    {
      method: "PUT",
      path: one,
      action: "users.replace",
      status: 200,
      representation: USER,
      consumes: JSON_BODY,
      takesIfMatch: true,
    },
    {
      method: "PATCH",
      path: one,
      action: "users.update",
      status: 200,
      representation: USER,
      consumes: PATCH_BODY,
      takesIfMatch: true,
    },
    { method: "DELETE", path: one, action: "users.delete", status: 204, takesIfMatch: true },
    {
      method: "POST",
      path: `${one}/restore`,
      action: "users.restore",
      status: 200,
      representation: USER,
      takesIfMatch: true,
    },
    { method: "POST", path: `${one}/erase`, action: "users.erase", status: 204, takesIfMatch: true },
  ];
}

/** Every route of the REST API. */
export const REST_ROUTES: readonly RestRoute[] = [...userRoutes("/users"), ...userRoutes("/profiles")];

/** The routes by path, for the gateway: it finds the path first, and then knows which methods it has. */
export function routesByPath(routes: readonly RestRoute[]): Map<string, Map<Method, RestRoute>> {
  const byPath = new Map<string, Map<Method, RestRoute>>();
  for (const route of routes) {
    const path = `${API_PREFIX}${route.path}`;
    const methods = byPath.get(path) ?? new Map<Method, RestRoute>();
    methods.set(route.method, route);
    byPath.set(path, methods);
  }
  return byPath;
}
