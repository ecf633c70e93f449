import { describe, expect, test } from "@jest/globals";

import { accessOf, refusalOf, requireAccessEntries, type AccessRule } from "../../../lib/access.ts";
import type { Principal } from "../../../lib/principal.ts";
import { StartupError } from "../../../lib/startup-error.ts";

const ID = "01890a5d-ac96-774b-bcce-b302099a8057";

const NOBODY: Principal = { kind: "anonymous" };
const USER: Principal = { kind: "user", id: ID, role: "user" };
const ADMIN: Principal = { kind: "user", id: ID, role: "admin" };
const READER: Principal = { kind: "api-key", id: "k", scopes: ["users:read"] };
const SERVICE: Principal = { kind: "service", name: "billing" };

const verdict = (rule: AccessRule, principal: Principal, params = {}, isSignupOpen = false): string =>
  refusalOf(rule, principal, params, { isSignupOpen }) ?? "allowed";

/** The verdicts on nobody, a user, an admin, an API key that reads users, and a service. */
const verdicts = (rule: AccessRule, params = {}, isSignupOpen = false): string[] =>
  [NOBODY, USER, ADMIN, READER, SERVICE].map((principal) => verdict(rule, principal, params, isSignupOpen));

describe("a rule", () => {
  test("that names nobody lets only services call", () => {
    expect(verdicts({})).toEqual(["UNAUTHENTICATED", "FORBIDDEN", "FORBIDDEN", "FORBIDDEN", "allowed"]);
  });

  test("for anyone lets everybody call", () => {
    expect(new Set(verdicts({ anyone: true }))).toEqual(new Set(["allowed"]));
  });

  test("for sign-up lets everybody call while sign-up is open", () => {
    const rule: AccessRule = { anyone: "sign-up", admins: true };
    expect(new Set(verdicts(rule, {}, true))).toEqual(new Set(["allowed"]));
    expect(verdicts(rule)).toEqual(["UNAUTHENTICATED", "FORBIDDEN", "allowed", "FORBIDDEN", "allowed"]);
  });

  test("for all users lets admins call too, who are users, and no API key", () => {
    expect(verdicts({ users: "all" })).toEqual([
      "UNAUTHENTICATED",
      "allowed",
      "allowed",
      "FORBIDDEN",
      "allowed",
    ]);
  });

  test("for a scope lets API keys call that have it", () => {
    expect(verdict({ scope: "users:read" }, READER)).toBe("allowed");
    expect(verdict({ scope: "users:write" }, READER)).toBe("FORBIDDEN");
    expect(verdict({ scope: "users:read" }, ADMIN)).toBe("FORBIDDEN");
  });
});

describe("a rule for a user itself", () => {
  const rule: AccessRule = { users: { self: "id" } };

  test.each([ID, ID.toUpperCase()])("lets it name itself as %s", (id) => {
    expect(verdict(rule, USER, { id })).toBe("allowed");
  });

  test.each([[undefined], [null], [""], [[ID]], [{ id: ID }], [`${ID} `], ["0".repeat(36)]])(
    "refuses it with %j for an id",
    (id) => {
      expect(verdict(rule, USER, { id })).toBe("FORBIDDEN");
    },
  );

  test("lets an API key with the id of a user do nothing", () => {
    expect(verdict(rule, { kind: "api-key", id: ID, scopes: ["users:read"] }, { id: ID })).toBe("FORBIDDEN");
  });
});

describe("a privileged parameter", () => {
  const rule: AccessRule = {
    users: { self: "id" },
    admins: true,
    scope: "users:read",
    privileged: ["role"],
  };
  const other = "01890a5d-ac96-774b-bcce-b302099a8058";

  test("may be given by admins and services, about others", () => {
    expect(verdicts(rule, { id: other, role: "admin" })).toEqual([
      "UNAUTHENTICATED",
      "FORBIDDEN",
      "allowed",
      "FORBIDDEN",
      "allowed",
    ]);
  });

  test("may not be given by anybody about itself, not even without an effect", () => {
    expect(verdict(rule, USER, { id: ID, role: "user" })).toBe("FORBIDDEN");
    expect(verdict(rule, ADMIN, { id: ID.toUpperCase(), role: "admin" })).toBe("FORBIDDEN");
  });
});

describe("the table", () => {
  test.each(["users.nothing", "$node.list", "__proto__", "toString"])(
    "leaves %s, which it does not name, to services",
    (action) => {
      expect(accessOf(action)).toEqual({});
    },
  );

  test("has to have an entry for each route, or the process does not start", () => {
    expect(() =>
      requireAccessEntries([{ path: "/health" }, { path: "/x", action: "users.get" }]),
    ).not.toThrow();
    const undecided = [{ path: "/new" }, { path: "/api/v1/new", action: "users.new" }];
    expect(() => requireAccessEntries(undecided)).toThrow(StartupError);
    expect(() => requireAccessEntries(undecided)).toThrow("/new (no action), /api/v1/new (users.new)");
  });
});
