import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { call } from "../../lib/contracts.ts";
import {
  createUserWithPassword,
  logIn,
  PASSWORD,
  startAuthNodes,
  type AuthNodes,
} from "../support/auth-nodes.ts";
import { RestClient } from "../support/rest-client.ts";
import { portOf } from "../support/test-gateway.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const ME = "/api/v1/auth/me";

let nodes: TestNodes;
let auth: AuthNodes;
/** Of two gateways. */
let clients: RestClient[];

beforeAll(async () => {
  nodes = await startTestNodes();
  auth = await startAuthNodes(nodes);
  const gateways = await Promise.all([
    nodes.start({ SERVICES: "api", RATE_LIMIT: "off" }),
    nodes.start({ SERVICES: "api", RATE_LIMIT: "off" }),
  ]);
  clients = gateways.map(({ broker }) => new RestClient(`http://127.0.0.1:${portOf(broker)}`));
});

afterAll(async () => {
  for (const client of clients) client.close();
  await nodes.stop();
});

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const statuses = (token: string) =>
  Promise.all(clients.map(async (client) => (await client.get(ME, bearer(token))).status));

/** A user who has shown the access token of a session to both gateways. */
async function loggedIn() {
  const user = await createUserWithPassword(auth.caller);
  const tokens = await logIn(auth.caller, user);
  expect(await statuses(tokens.accessToken)).toEqual([200, 200]);
  return { user, ...tokens };
}

const untilRefused = (token: string) =>
  waitFor(async () => (await statuses(token)).every((status) => status === 401), {
    description: "both gateways to refuse the token",
  });

describe("both gateways refuse an access token", () => {
  test("after a logout at one of them", async () => {
    const { accessToken } = await loggedIn();

    const response = await clients[0]?.post("/api/v1/auth/logout", undefined, bearer(accessToken));

    expect(response?.status).toBe(204);
    await untilRefused(accessToken);
  });

  test("after a change of the password, but not that of the session that changed it", async () => {
    const { user, accessToken } = await loggedIn();
    const other = await logIn(auth.caller, user);
    expect(await statuses(other.accessToken)).toEqual([200, 200]);

    const change = { currentPassword: PASSWORD, newPassword: "another horse battery staple" };
    const response = await clients[1]?.post("/api/v1/auth/password", change, bearer(accessToken));

    expect(response?.status).toBe(204);
    await untilRefused(other.accessToken);
    expect(await statuses(accessToken)).toEqual([200, 200]);
  });

  test("after its user was suspended, and one of before still after the suspension was ended", async () => {
    const { user, accessToken } = await loggedIn();

    await call(auth.caller, "users.suspend", { id: user.id });
    await untilRefused(accessToken);

    await call(auth.caller, "users.unsuspend", { id: user.id });
    expect(await statuses(accessToken)).toEqual([401, 401]);
    const { accessToken: next } = await logIn(auth.caller, user);
    expect(await statuses(next)).toEqual([200, 200]);
  });

  test("after its refresh token was used twice", async () => {
    const { accessToken, refreshToken } = await loggedIn();
    const refresh = () => clients[0]?.post("/api/v1/auth/refresh", { refreshToken });

    expect((await refresh())?.status).toBe(200);
    expect((await refresh())?.status).toBe(401);

    await untilRefused(accessToken);
  });
});
