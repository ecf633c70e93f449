import { describe, expect, test } from "@jest/globals";

import { newId } from "../../../../lib/ids.ts";
import { pathFinder } from "../../../../services/api/path-finder.ts";
import { REST_ROUTES } from "../../../../services/api/routes.ts";

const ID = newId();
const OTHER_ID = newId();

const find = pathFinder({
  "/users": "list",
  "/users/:id": "one",
  "/users/:userId/images": "images",
  "/users/:id/images/:imageId": "image",
});

describe("a path", () => {
  test.each([
    ["/users", { target: "list", route: "/users", params: {} }],
    ["/users?limit=2&after=/users/x", { target: "list", route: "/users", params: {} }],
    [`/users/${ID}`, { target: "one", route: "/users/:id", params: { id: ID } }],
    [`/users/${ID}?fields=${OTHER_ID}`, { target: "one", route: "/users/:id", params: { id: ID } }],
    [`/users/${ID}/images`, { target: "images", route: "/users/:userId/images", params: { userId: ID } }],
  ])("is found as it is written: %s", (url, found) => {
    expect(find(url)).toEqual(found);
  });

  test.each([
    "",
    "/",
    "*",
    "?",
    "/users/",
    "/Users",
    "//users",
    "/users/:",
    "/users/:id",
    "/users/:/images",
    `/users/${ID}/`,
    `/users/${ID.toUpperCase()}`,
    `/users/${ID}0`,
    `/users/x${ID}`,
    `/users/${ID}%20`,
    `/users/${ID};a=b`,
    `/${ID}`,
    `/users/${ID}/${OTHER_ID}`,
    `/users/:/${ID}`,
    `/users/${ID}/images/${OTHER_ID}`,
    `/users/:/images/${ID}`,
    "/users/constructor",
    "/__proto__",
  ])("is not found in any other form: %s", (url) => {
    expect(find(url)).toBeUndefined();
  });

  test("of every route of the API is found, unless it has two ids", () => {
    const paths = [...new Set(REST_ROUTES.map(({ path }) => path))];
    const findRoute = pathFinder(Object.fromEntries(paths.map((path) => [path, path])));
    for (const path of paths.filter((pattern) => pattern.split(":").length <= 2)) {
      expect(findRoute(path.replace(/:\w+/, ID))).toMatchObject({ route: path, target: path });
    }
  });
});
