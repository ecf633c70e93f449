import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { newId } from "../../lib/ids.ts";
import type { User } from "../../services/users/users.contract.ts";
import { ADMIN, ADMIN_SETTINGS, logIn } from "../support/admin.ts";
import { startTestIssuer, type TestIssuer } from "../support/external-issuer.ts";
import { fieldsOf, problemOf } from "../support/problems.ts";
import { as } from "../support/requests.ts";
import { newUser, RestClient, type RestResponse } from "../support/rest-client.ts";
import { portOf } from "../support/test-gateway.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { signingKey, signToken, TEST_AUTH_KEY } from "../support/test-tokens.ts";
import { waitFor } from "../support/wait-for.ts";

/*
 * An external issuer vouches for addresses, and whose address an account has, is its user. So nobody but an admin may
 * put an address on an account, or keep a way in to an account that somebody else is going to come to.
 */

const USERS = "/api/v1/users";
const PASSWORD = "correct horse battery staple";

let nodes: TestNodes;
let issuer: TestIssuer;
/** Has no services; its calls are made by a service principal. */
let system: ServiceBroker;
let client: RestClient;
let adminToken: string;
/** An API key that may read and write users. */
let key: string;

beforeAll(async () => {
  [nodes, issuer] = await Promise.all([startTestNodes(), startTestIssuer()]);
  const settings = { ...issuer.settings, SIGNUP: "open" };
  await nodes.start({ SERVICES: "users", ...settings });
  await nodes.start({ SERVICES: "auth", ...settings, ...ADMIN_SETTINGS });
  const gateway = await nodes.start({ SERVICES: "api", ...settings });
  ({ broker: system } = await nodes.start({ SERVICES: "none" }));
  const url = `http://127.0.0.1:${portOf(gateway.broker)}`;
  client = new RestClient(url);
  adminToken = await logIn(url, ADMIN);
  const admin = as({ kind: "user", id: newId(), role: "admin" });
  const newKey = { name: "backend", scopes: ["users:read" as const, "users:write" as const] };
  ({ key } = await call(system, "auth.createApiKey", newKey, admin));
  const isKnown = async (): Promise<boolean> => (await whoIs(ADMIN.email)) !== "SERVICE_UNAVAILABLE";
  await waitFor(isKnown, { description: "the keys of the issuer to be read" });
});

afterAll(async () => {
  client.close();
  await nodes.stop();
  await issuer.stop();
});

const sentBy = (token: string | undefined) =>
  token === undefined ? {} : { authorization: `Bearer ${token}` };
const tokenOf = ({ id, role }: User) => signToken(signingKey(TEST_AUTH_KEY), { id, role });

/** Both ways to change an address. */
function changeAddress(user: User, email: string, token: string): Promise<RestResponse[]> {
  const path = `${USERS}/${user.id}`;
  const { firstName, lastName } = user;
  const headers = sentBy(token);
  return Promise.all([
    client.patch(path, { email }, headers),
    client.request("PUT", path, { headers, body: { email, firstName, lastName } }),
  ]);
}

/** Whose a token of the issuer for this address is: the id of the user, or the code of the refusal. */
async function whoIs(email: string): Promise<string> {
  const { json } = await client.get("/api/v1/auth/me", sentBy(await issuer.tokenFor(email)));
  const { id, code } = json as { id?: string; code?: string };
  return id ?? code ?? "";
}

function expectRefusal(response: RestResponse, field: string): void {
  const problem = problemOf(response);
  expect(problem).toMatchObject({ status: 403, code: "FORBIDDEN" });
  expect(fieldsOf(problem)).toEqual([field]);
}

describe("the address of a user", () => {
  test("is not changed by an API key, whose holder could become an admin by it", async () => {
    const { id } = await call(system, "users.create", newUser());
    const admin = await call(system, "users.update", { id, role: "admin" });
    const { email } = newUser();

    for (const response of await changeAddress(admin, email, key)) expectRefusal(response, "email");
    expect(await whoIs(email)).toBe("INVALID_TOKEN");
    expect(await whoIs(admin.email)).toBe(id);
  });

  test("is not changed by the user, who could wait there for somebody else", async () => {
    const user = await call(system, "users.create", newUser());
    const { email } = newUser();

    const responses = await changeAddress(user, email, await tokenOf(user));
    for (const response of responses) expectRefusal(response, "email");
    expect(await whoIs(email)).toBe("INVALID_TOKEN");
  });

  test("may be given by both as it is, in whatever letter case", async () => {
    const user = await call(system, "users.create", newUser());

    for (const token of [await tokenOf(user), key]) {
      const responses = await changeAddress(user, user.email.toUpperCase(), token);
      expect(responses.map(({ status }) => status)).toEqual([200, 200]);
    }
  });

  test("is changed by an admin, and then it is that user's tokens that are for the new one", async () => {
    const user = await call(system, "users.create", newUser());
    const { email } = newUser();

    const responses = await changeAddress(user, email, adminToken);
    expect(responses.map(({ status }) => status)).toEqual([200, 200]);
    expect([await whoIs(email), await whoIs(user.email)]).toEqual([user.id, "INVALID_TOKEN"]);
  });
});

describe("a new user", () => {
  test.each(["an API key", "whoever signs up"])(
    "is not given a password by %s, who could wait for the owner of the address",
    async (who) => {
      const user = newUser();
      const headers = sentBy(who === "an API key" ? key : undefined);

      expectRefusal(await client.post(USERS, { ...user, password: PASSWORD }, headers), "password");
      expect(await whoIs(user.email)).toBe("INVALID_TOKEN");
      const created = await client.post(USERS, user, headers);
      expect(created.status).toBe(201);
      expect(await whoIs(user.email)).toBe((created.json as User).id);
    },
  );

  test("is given a password by an admin", async () => {
    const user = newUser();

    const created = await client.post(USERS, { ...user, password: PASSWORD }, sentBy(adminToken));
    expect(created.status).toBe(201);
    expect(await logIn(client.url, { email: user.email, password: PASSWORD })).toEqual(expect.any(String));
  });
});
