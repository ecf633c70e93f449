import { IncomingMessage, ServerResponse, type OutgoingHttpHeaders } from "node:http";
import { Socket } from "node:net";

import { beforeEach, describe, expect, test } from "@jest/globals";

import { appError } from "../../../../broker/errors.ts";
import { loadConfig } from "../../../../lib/config.ts";
import type { ActionName } from "../../../../lib/contracts.ts";
import type { ErrorCode } from "../../../../lib/error-catalogue.ts";
import type { Principal } from "../../../../lib/principal.ts";
import { RateLimits } from "../../../../services/api/rate-limits.ts";
import { parseList } from "../../../support/structured-fields.ts";

const ANONYMOUS: Principal = { kind: "anonymous" };
const ADA: Principal = { kind: "user", id: "ada", role: "user" };
const ROOT: Principal = { kind: "user", id: "root", role: "admin" };
const KEY: Principal = { kind: "api-key", id: "ada", scopes: [] };

/** A limit of each kind that no other has, so that what is left tells which of them was used. */
const SETTINGS = {
  TRUST_PROXY: "1",
  RATE_LIMIT_READS: "7/1h",
  RATE_LIMIT_WRITES: "6/1h",
  RATE_LIMIT_UPLOADS: "8/1h",
  RATE_LIMIT_SIGN_UP: "5/1h",
  RATE_LIMIT_LOGIN: "4/1h",
  RATE_LIMIT_WRONG_PASSWORDS: "3/1h",
  RATE_LIMIT_WRONG_CREDENTIALS: "2/1h",
};

let limits: RateLimits;

beforeEach(() => {
  limits = new RateLimits(loadConfig(SETTINGS), undefined);
});

interface Outcome {
  /** Of the error; undefined: the request was let in. */
  readonly code: string | undefined;
  readonly headers: OutgoingHttpHeaders;
}

/** What becomes of a request that a proxy says is from this address. */
async function outcomeOf(
  forwardedFor: string,
  work: (request: IncomingMessage, response: ServerResponse) => Promise<unknown>,
): Promise<Outcome> {
  const request = new IncomingMessage(new Socket());
  request.headers["x-forwarded-for"] = forwardedFor;
  const response = new ServerResponse(request);
  const code = await work(request, response).then(
    () => undefined,
    ({ type }: { type: string }) => type,
  );
  return { code, headers: response.getHeaders() };
}

interface Sent {
  readonly action?: ActionName;
  readonly isRead?: boolean;
  readonly principal?: Principal;
  readonly from?: string;
}

function send({ action = "users.get", isRead = true, principal = ANONYMOUS, from = "192.0.2.1" }: Sent) {
  return outcomeOf(from, (request, response) =>
    limits.admit(request, response, { action, isRead, principal }),
  );
}

async function codesOf(count: number, one: () => Promise<Outcome>): Promise<(string | undefined)[]> {
  const codes: (string | undefined)[] = [];
  for (let index = 0; index < count; index += 1) codes.push((await one()).code);
  return codes;
}

const passed = (count: number) => Array<undefined>(count).fill(undefined);

describe("requests are counted", () => {
  test("apart for reads, writes, uploads, sign-ups and logins", async () => {
    const kinds: Sent[] = [
      { action: "users.list" },
      { action: "users.update", isRead: false },
      { action: "images.create", isRead: false },
      { action: "images.startUpload", isRead: false },
      { action: "users.create", isRead: false },
      { action: "auth.login", isRead: false },
    ];
    const headers = await Promise.all(kinds.map(async (kind) => (await send(kind)).headers["ratelimit"]));
    expect(headers).toEqual([
      '"reads";r=6;t=3600',
      '"writes";r=5;t=3600',
      '"uploads";r=7;t=3600',
      '"uploads";r=6;t=3600',
      '"sign-up";r=4;t=3600',
      '"login";r=3;t=3600',
    ]);
  });

  test("as writes when an administrator or a backend creates users", async () => {
    for (const principal of [KEY, ROOT]) {
      const { headers } = await send({ action: "users.create", isRead: false, principal });
      expect(headers["ratelimit"]).toBe('"writes";r=5;t=3600');
    }
  });

  test("as sign-ups of an address when whoever has signed up does so again and again", async () => {
    const users = ["ada", "bob"].map((id): Principal => ({ kind: "user", id, role: "user" }));
    const outcomes = await Promise.all(
      [ANONYMOUS, ...users].map((principal) => send({ action: "users.create", isRead: false, principal })),
    );
    expect(outcomes.map(({ headers }) => headers["ratelimit"])).toEqual([
      '"sign-up";r=4;t=3600',
      '"sign-up";r=3;t=3600',
      '"sign-up";r=2;t=3600',
    ]);
  });

  test("for a user wherever it is, and for an API key apart from a user", async () => {
    await send({ principal: ADA, from: "192.0.2.1" });
    await send({ principal: ADA, from: "192.0.2.2" });
    const [ofUser, ofKey, ofAddress] = await Promise.all([
      send({ principal: ADA, from: "192.0.2.3" }),
      send({ principal: KEY, from: "192.0.2.1" }),
      send({ from: "192.0.2.1" }),
    ]);
    expect([ofUser, ofKey, ofAddress].map(({ headers }) => headers["ratelimit"])).toEqual([
      '"reads";r=4;t=3600',
      '"reads";r=6;t=3600',
      '"reads";r=6;t=3600',
    ]);
  });

  test("for the address when somebody logs in, whatever token comes along, or changes a password", async () => {
    const login = { action: "auth.login", isRead: false } as const;
    await send(login);
    const { headers } = await send({ ...login, principal: ADA });
    expect(headers["ratelimit"]).toBe('"login";r=2;t=3600');
    const change = await send({ action: "auth.changePassword", isRead: false, principal: ADA });
    expect(change.headers["ratelimit"]).toBe('"login";r=1;t=3600');
  });

  test("for the address that a trusted proxy has seen, not those that the client claims", async () => {
    const codes: (string | undefined)[] = [];
    for (let index = 0; index < 9; index += 1) {
      codes.push((await send({ from: `203.0.113.${index}, 192.0.2.1` })).code);
    }
    expect(codes).toEqual([...passed(7), "RATE_LIMITED", "RATE_LIMITED"]);
    expect((await send({ from: "192.0.2.2" })).code).toBeUndefined();
  });

  test("for all addresses of an IPv6 network together", async () => {
    for (let index = 0; index < 7; index += 1) await send({ from: `2001:db8::${index}` });
    expect((await send({ from: "2001:db8::ffff" })).code).toBe("RATE_LIMITED");
    expect((await send({ from: "2001:db8:0:1::1" })).code).toBeUndefined();
  });
});

describe("the header fields", () => {
  test("are lists of structured fields with the policy and what is left of it", async () => {
    const { headers } = await send({});
    expect(parseList(String(headers["ratelimit-policy"]))).toEqual([
      { value: "reads", parameters: { q: 7, w: 3600 } },
    ]);
    expect(parseList(String(headers["ratelimit"]))).toEqual([
      { value: "reads", parameters: { r: 6, t: 3600 } },
    ]);
    expect(headers).not.toHaveProperty("retry-after");
  });

  test("of a refusal say when to come again, in Retry-After as in RateLimit", async () => {
    await codesOf(7, () => send({}));
    const { code, headers } = await send({});
    expect(code).toBe("RATE_LIMITED");
    const [item] = parseList(String(headers["ratelimit"]));
    expect(item).toEqual({ value: "reads", parameters: { r: 0, t: headers["retry-after"] } });
    expect(headers["retry-after"]).toBeGreaterThan(3600);
  });

  test("of a login name both policies that it is under", async () => {
    const { headers } = await outcomeOf("192.0.2.1", async (request, response) => {
      await limits.admit(request, response, { action: "auth.login", isRead: false, principal: ANONYMOUS });
      const params = { email: "ada@example.com" };
      await limits.guardPassword(
        response,
        { action: "auth.login", params, principal: ANONYMOUS },
        async () => null,
      );
    });
    const names = (field: unknown) => parseList([field].flat().join(", ")).map(({ value }) => value);
    expect(names(headers["ratelimit-policy"])).toEqual(["login", "wrong-passwords"]);
    expect(names(headers["ratelimit"])).toEqual(["login", "wrong-passwords"]);
  });
});

describe("a password", () => {
  interface Attempt {
    readonly action?: ActionName;
    readonly email?: unknown;
    readonly principal?: Principal;
    readonly from?: string;
    /** What the action answers; undefined: success. */
    readonly error?: ErrorCode;
  }

  const attempt = ({
    action = "auth.login",
    email = "ada@example.com",
    principal = ANONYMOUS,
    from = "192.0.2.1",
    error,
  }: Attempt): Promise<Outcome> =>
    outcomeOf(from, (_request, response) =>
      limits.guardPassword(response, { action, params: { email }, principal }, async () => {
        if (error) throw appError(error);
      }),
    );
  const WRONG = { error: "INVALID_CREDENTIALS" } as const;

  test("that is wrong too often closes the account to guesses, from other addresses too", async () => {
    expect(await codesOf(4, () => attempt(WRONG))).toEqual([
      ...Array<string>(3).fill("INVALID_CREDENTIALS"),
      "RATE_LIMITED",
    ]);
    expect((await attempt({ ...WRONG, from: "198.51.100.1" })).code).toBe("RATE_LIMITED");
    expect((await attempt({ ...WRONG, email: "bob@example.com" })).code).toBe("INVALID_CREDENTIALS");
  });

  test("is counted for the account however its name is written", async () => {
    await codesOf(3, () => attempt(WRONG));
    const spaces = " ".repeat(1000);
    for (const email of [" ADA@Example.com ", `${spaces}ada@example.com${spaces}`]) {
      expect((await attempt({ ...WRONG, email })).code).toBe("RATE_LIMITED");
    }

    await codesOf(3, () => attempt({ ...WRONG, email: "zo\u00eb@example.com" }));
    expect((await attempt({ ...WRONG, email: "ZOE\u0308@example.com" })).code).toBe("RATE_LIMITED");
  });

  test("is guessed no more often at the same time than one after the other", async () => {
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => attempt(WRONG)));
    expect(outcomes.filter(({ code }) => code === "INVALID_CREDENTIALS")).toHaveLength(3);
  });

  test.each<ErrorCode | undefined>([undefined, "ACCOUNT_SUSPENDED", "OVERLOADED", "VALIDATION_FAILED"])(
    "is not counted when it was not wrong: %s",
    async (error) => {
      const same = { ...(error && { error }) };
      expect(await codesOf(10, () => attempt(same))).toEqual(Array(10).fill(error));
    },
  );

  test("that a user gives to change it is counted for that user", async () => {
    const change = { action: "auth.changePassword", email: undefined, ...WRONG } as const;
    await codesOf(3, () => attempt({ ...change, principal: ADA }));
    expect((await attempt({ ...change, principal: ADA })).code).toBe("RATE_LIMITED");
    expect((await attempt({ ...change, principal: { ...ADA, id: "bob" } })).code).toBe("INVALID_CREDENTIALS");
  });

  test("is no matter of other actions, nor of a login that names no account", async () => {
    expect((await attempt({ action: "users.update" })).headers).toEqual({});
    expect((await attempt({ email: 5, error: "VALIDATION_FAILED" })).headers).toEqual({});
  });
});
