import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";

import { REST_ROUTES, routesByPath } from "../../../../services/api/routes.ts";
import { TEST_KEYS } from "../../../support/test-auth.ts";
import { startTestGateway, type TestGateway } from "../../../support/test-gateway.ts";

const ID = "01890a5d-ac96-774b-bcce-b302099a8057";
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;

const ROUTES = REST_ROUTES.map((route) => ({ ...route, url: urlOf(route.path) }));

let gateway: TestGateway;

/** A path of a pattern. */
function urlOf(path: string): string {
  return path.replaceAll(/:\w+/g, ID);
}

/** The others are more than one call and its result, and have tests of their own. */
const isOneCall = ({ answer }: (typeof ROUTES)[number]): boolean => answer === undefined;

beforeAll(async () => {
  const results = ROUTES.filter(isOneCall).map(({ action, representation }): [string, unknown] => {
    // The gateway itself needs it, to know who is asking.
    if (action === "auth.keys") return [action, TEST_KEYS];
    if (!representation) return [action, null];
    return [action, representation.kind === "page" ? { data: [], nextCursor: null } : { id: ID, version: 1 }];
  });
  gateway = await startTestGateway(Object.fromEntries(results));
});

beforeEach(() => {
  gateway.calls.length = 0;
});

afterAll(() => gateway.stop());

describe("a route", () => {
  test.each(ROUTES.filter(isOneCall))(
    "$method $path is $action",
    async ({ method, url, action, status, consumes, takesFile, path }) => {
      const response = await gateway.client.request(method, url, {
        ...(consumes && { body: {} }),
        ...(takesFile && { body: "an image", headers: { "content-type": "image/png" } }),
      });
      expect(response.status).toBe(status);
      expect(gateway.calls).toMatchObject([{ action, params: path.includes(":id") ? { id: ID } : {} }]);
    },
  );

  test("is there once for a method and a path", () => {
    const names = REST_ROUTES.map(({ method, path }) => `${method} ${path}`);
    expect(new Set(names).size).toBe(names.length);
  });

  test("of users is there for profiles too", () => {
    const below = (base: string) =>
      REST_ROUTES.filter(({ path }) => path.startsWith(base)).map(({ method, path, action }) => [
        method,
        path.slice(base.length),
        action,
      ]);
    expect(below("/api/v1/users")).toEqual(below("/api/v1/profiles"));
    expect(below("/api/v1/users").length).toBeGreaterThan(0);
  });

  test("of a created resource says where that is", async () => {
    const response = await gateway.client.post("/api/v1/profiles", {});
    expect(response.headers.location).toBe(`/api/v1/profiles/${ID}`);
  });
});

describe("a path", () => {
  const paths = [...routesByPath(REST_ROUTES)].map(([path, routes]) => ({
    path,
    url: urlOf(path),
    allowed: [...routes.keys()],
  }));

  test.each(paths)("$path refuses all methods but its own", async ({ url, allowed }) => {
    for (const method of METHODS.filter((name) => !allowed.includes(name))) {
      const response = await gateway.client.request(method, url, { body: {} });
      expect(response.status).toBe(405);
      expect(response.headers.allow?.split(", ")).toEqual([
        ...allowed,
        ...(allowed.includes("GET") ? ["HEAD"] : []),
        "OPTIONS",
      ]);
    }
    expect(gateway.calls).toEqual([]);
  });

  test.each([
    `/api/v1/users/${ID}/nothing`,
    `/api/v1/users/${ID}/restore/it`,
    "/api/v1",
    "/api/v2/users",
    "/users",
    "/api/v1/Users",
    "/API/v1/users",
    "/rest",
    "/api/~node/health",
  ])("%s is not there", async (url) => {
    const response = await gateway.client.get(url);
    expect(response.json).toMatchObject({ status: 404, code: "ROUTE_NOT_FOUND", instance: url });
    expect(gateway.calls).toEqual([]);
  });
});
