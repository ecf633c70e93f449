import { API_PREFIX, JSON_BODY, PATCH_BODY, type RestRoute } from "./rest-route.ts";

const USER = { kind: "resource", xmlRoot: "user" } as const;
const USERS = { kind: "page", xmlRoot: "users" } as const;

const EXPORT = { representation: { kind: "plain", xmlRoot: "export" }, cacheControl: "no-store" } as const;
const HISTORY = { kind: "page", xmlRoot: "history" } as const;

function routesBelow(base: string): RestRoute[] {
  const one = `${base}/:id`;
  return [
    {
      method: "POST",
      path: base,
      action: "users.create",
      status: 201,
      representation: USER,
      location: ({ id }) => `${base}/${id}`,
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
    command(one, "suspend"),
    command(one, "unsuspend"),
    command(one, "restore"),
    { method: "POST", path: `${one}/erase`, action: "users.erase", status: 204, takesIfMatch: true },
    { method: "GET", path: `${one}/export`, action: "users.export", status: 200, ...EXPORT },
    { method: "GET", path: `${one}/history`, action: "users.history", status: 200, representation: HISTORY },
  ];
}

/** A change without a body, which answers with the user. */
function command(one: string, verb: "suspend" | "unsuspend" | "restore"): RestRoute {
  const path = `${one}/${verb}`;
  return {
    method: "POST",
    path,
    action: `users.${verb}`,
    status: 200,
    representation: USER,
    takesIfMatch: true,
  };
}

/** The users, below `/users` and, since a profile is a user, below `/profiles`. */
export const USER_ROUTES = [...routesBelow(`${API_PREFIX}/users`), ...routesBelow(`${API_PREFIX}/profiles`)];
