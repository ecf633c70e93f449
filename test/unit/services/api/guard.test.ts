import { IncomingMessage, ServerResponse, type IncomingHttpHeaders } from "node:http";
import { Socket } from "node:net";

import { describe, expect, test } from "@jest/globals";

import { appError } from "../../../../broker/errors.ts";
import { loadConfig } from "../../../../lib/config.ts";
import type { ActionName } from "../../../../lib/contracts.ts";
import type { Principal } from "../../../../lib/principal.ts";
import { Guard, type CredentialVerifier } from "../../../../services/api/guard.ts";
import { RateLimits } from "../../../../services/api/rate-limits.ts";

const USER: Principal = { kind: "user", id: "u", role: "user" };
const KEY: Principal = { kind: "api-key", id: "k", scopes: ["users:read"] };
const NOBODY: Principal = { kind: "anonymous" };

/** Knows one token and one API key, and has verified another token before. */
const verifier: CredentialVerifier = {
  principalOf: (token) => (token === "known" ? USER : undefined),
  verifyToken: async (token) => {
    if (token === "away") throw appError("SERVICE_UNAVAILABLE");
    if (token !== "a.b.c") throw appError("INVALID_TOKEN");
    return USER;
  },
  verifyApiKey: async (key) => {
    if (key !== "rk_1_2") throw appError("INVALID_TOKEN");
    return KEY;
  },
};

const guard = new Guard({ verifier, limits: undefined, isSignupOpen: true });

/** What the guard says of a request with these headers: the principal, or the error and its challenge. */
async function admit(
  headers: IncomingHttpHeaders,
  action: ActionName = "auth.me",
  { params = {}, by = guard } = {},
): Promise<unknown> {
  const request = new IncomingMessage(new Socket());
  Object.assign(request.headers, headers);
  const response = new ServerResponse(request);
  try {
    return await by.admit(request, response, { action, isRead: true, params });
  } catch (error) {
    return [(error as { type: string }).type, response.getHeader("WWW-Authenticate")];
  }
}

const INVALID = ["INVALID_TOKEN", 'Bearer realm="rollcall", error="invalid_token"'];

describe("a credential", () => {
  test.each([
    ["a bearer token", { authorization: "Bearer a.b.c" }, USER],
    ["a bearer token whose scheme is in other letters", { authorization: "bEARER   a.b.c" }, USER],
    ["a bearer token that was verified before", { authorization: "Bearer known" }, USER],
    ["an API key as a bearer token", { authorization: "Bearer rk_1_2" }, KEY],
    ["an API key in its own header", { "x-api-key": "rk_1_2" }, KEY],
  ])("is taken: %s", async (_, headers, principal) => {
    expect(await admit(headers)).toEqual(principal);
  });

  test.each([
    ["another token", { authorization: "Bearer a.b.d" }],
    ["another API key", { authorization: "Bearer rk_1_3" }],
    ["a token where an API key belongs", { "x-api-key": "a.b.c" }],
    ["another scheme", { authorization: "Basic YWRhOnNlY3JldA==" }],
    ["a token without a scheme", { authorization: "a.b.c" }],
    ["a scheme without a token", { authorization: "Bearer " }],
    ["an empty header", { authorization: "" }],
    ["an empty API key", { "x-api-key": "" }],
    ["two tokens", { authorization: "Bearer a.b.c, Bearer a.b.c" }],
    ["two API keys", { "x-api-key": "rk_1_2, rk_1_2" }],
  ])("is refused: %s", async (_, headers) => {
    expect(await admit(headers)).toEqual(INVALID);
  });

  test("is refused beside another one, even when both are the same key", async () => {
    expect(await admit({ authorization: "Bearer rk_1_2", "x-api-key": "rk_1_2" })).toEqual([
      "AMBIGUOUS_CREDENTIALS",
      'Bearer realm="rollcall", error="invalid_request"',
    ]);
  });

  test("is refused beside an API key, although it was verified before", async () => {
    const refusal = await admit({ authorization: "Bearer known", "x-api-key": "rk_1_2" });
    expect(refusal).toMatchObject(["AMBIGUOUS_CREDENTIALS", expect.any(String)]);
  });

  test("that cannot be checked is not called wrong", async () => {
    expect(await admit({ authorization: "Bearer away" })).toEqual(["SERVICE_UNAVAILABLE", undefined]);
  });
});

describe("a request without credentials", () => {
  test("is refused where they are needed", async () => {
    expect(await admit({})).toEqual(["UNAUTHENTICATED", undefined]);
  });

  test.each<ActionName>(["auth.login", "users.create"])("is nobody's where none are: %s", async (action) => {
    expect(await admit({}, action)).toEqual(NOBODY);
  });
});

describe("where no credentials are needed", () => {
  test("those that are sent count", async () => {
    expect(await admit({ authorization: "Bearer a.b.c" }, "auth.logout")).toEqual(USER);
  });

  test("wrong ones do no harm, so that an expired token can be sent along when it is refreshed", async () => {
    expect(await admit({ authorization: "Bearer expired" }, "auth.refresh")).toEqual(NOBODY);
  });

  test("but only while sign-up is open, wrong ones are refused: a client means to be somebody", async () => {
    expect(await admit({ authorization: "Bearer expired" }, "users.create")).toEqual(INVALID);
  });
});

describe("a principal that may not", () => {
  test("is told which scope its API key lacks", async () => {
    expect(await admit({ "x-api-key": "rk_1_2" }, "users.restore")).toEqual([
      "FORBIDDEN",
      'Bearer realm="rollcall", error="insufficient_scope", scope="users:write"',
    ]);
  });

  test("is not told of a scope when no API key may", async () => {
    const refused = ["FORBIDDEN", undefined];
    expect(await admit({ "x-api-key": "rk_1_2" }, "auth.createApiKey")).toEqual(refused);
    expect(await admit({ authorization: "Bearer a.b.c" }, "auth.createApiKey")).toEqual(refused);
  });

  test("is refused by what the path says", async () => {
    const headers = { authorization: "Bearer a.b.c" };
    expect(await admit(headers, "users.get", { params: { id: "v" } })).toEqual(["FORBIDDEN", undefined]);
    expect(await admit(headers, "users.get", { params: { id: "u" } })).toEqual(USER);
  });
});

describe("a request that was admitted", () => {
  const stillAdmits = (headers: IncomingHttpHeaders, action: ActionName): Promise<boolean> => {
    const request = new IncomingMessage(new Socket());
    Object.assign(request.headers, headers);
    return guard.stillAdmits(request, action);
  };

  test.each<[string, boolean, IncomingHttpHeaders, ActionName]>([
    ["with a token that is valid", true, { authorization: "Bearer a.b.c" }, "auth.me"],
    ["with an API key that is valid", true, { "x-api-key": "rk_1_2" }, "users.list"],
    ["with a token that no longer is", false, { authorization: "Bearer d.e.f" }, "auth.me"],
    ["with an API key that was revoked", false, { "x-api-key": "rk_3_4" }, "users.list"],
    ["with an API key that has lost the scope", false, { "x-api-key": "rk_1_2" }, "events.list"],
    ["with a token of who has lost the right", false, { authorization: "Bearer a.b.c" }, "events.list"],
    ["while nobody can say whether its token is valid", true, { authorization: "Bearer away" }, "auth.me"],
  ])("%s: still is, or is not, %s", async (_, isAdmitted, headers, action) => {
    expect(await stillAdmits(headers, action)).toBe(isAdmitted);
  });
});

describe("an address that sends wrong credentials", () => {
  test("may do so for a while only, and is still served with right ones", async () => {
    const limits = new RateLimits(loadConfig({ RATE_LIMIT_WRONG_CREDENTIALS: "2/60s" }), undefined);
    const by = new Guard({ verifier, limits, isSignupOpen: false });
    const send = (token: string) => admit({ authorization: `Bearer ${token}` }, "auth.me", { by });

    expect([await send("x"), await send("y"), await send("z")]).toEqual([
      INVALID,
      INVALID,
      ["RATE_LIMITED", undefined],
    ]);
    expect(await send("a.b.c")).toEqual(USER);
  });
});
