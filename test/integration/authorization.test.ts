import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { ServiceBroker, type Context } from "moleculer";

import { call, type ActionName } from "../../lib/contracts.ts";
import { newId } from "../../lib/ids.ts";
import type { Principal, PrincipalMeta } from "../../lib/principal.ts";
import { newUser } from "../support/rest-client.ts";
import { as, asService, ask, withKey } from "../support/requests.ts";
import { storedEvents } from "../support/stored-rows.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";

const ANONYMOUS: Principal = { kind: "anonymous" };
const userOf = (id: string): Principal => ({ kind: "user", id, role: "user" });
const ADMIN: Principal = { kind: "user", id: newId(), role: "admin" };
const READER: Principal = { kind: "api-key", id: newId(), scopes: ["users:read"] };
const WRITER: Principal = { kind: "api-key", id: newId(), scopes: ["users:write"] };

let nodes: TestNodes;
let users: ServiceBroker;
/** Has no service, so that all its calls go over NATS. */
let sibling: ServiceBroker;

beforeAll(async () => {
  nodes = await startTestNodes();
  ({ broker: users } = await nodes.start({ SERVICES: "users" }));
  ({ broker: sibling } = await nodes.start({ SERVICES: "none", SERVICE_PRINCIPAL: "billing" }));
});

afterAll(() => nodes.stop());

/** What comes of calls by each of these principals: "allowed", or the code of the refusal. */
async function outcomes(
  broker: ServiceBroker,
  action: ActionName,
  params: object,
  principals: readonly Principal[],
): Promise<unknown[]> {
  const calls = principals.map((principal) =>
    broker.call(action, params, as(principal)).then(
      () => "allowed",
      (error: { type: unknown }) => error.type,
    ),
  );
  return Promise.all(calls);
}

describe.each(["on the node of the service", "over NATS"])("a call %s", (place) => {
  const broker = (): ServiceBroker => (place === "over NATS" ? sibling : users);
  let id: string;

  beforeAll(async () => {
    ({ id } = await call(broker(), "users.create", newUser()));
  });

  test("of a cached read is refused as it is of one that is not cached", async () => {
    for (const temperature of ["cold", "cached"]) {
      const refused = [ANONYMOUS, userOf(newId()), WRITER];
      expect([temperature, await outcomes(broker(), "users.get", { id }, refused)]).toEqual([
        temperature,
        ["UNAUTHENTICATED", "FORBIDDEN", "FORBIDDEN"],
      ]);
      await call(broker(), "users.get", { id });
    }
  });

  test("is allowed to the user itself, to admins and to API keys with the scope", async () => {
    const allowed = [userOf(id), ADMIN, READER];
    expect(new Set(await outcomes(broker(), "users.get", { id }, allowed))).toEqual(new Set(["allowed"]));
  });

  test("for somebody else's id is refused alike whether or not there is such a user", async () => {
    const user = userOf(newId());
    for (const other of [id, newId(), "no id at all"]) {
      expect(await outcomes(broker(), "users.get", { id: other }, [user])).toEqual(["FORBIDDEN"]);
    }
  });

  test("of a service-only action is refused to everybody else", async () => {
    const everybody = [ANONYMOUS, userOf(newId()), ADMIN, READER];
    expect(await outcomes(broker(), "users.health", {}, everybody)).toEqual([
      "UNAUTHENTICATED",
      "FORBIDDEN",
      "FORBIDDEN",
      "FORBIDDEN",
    ]);
  });

  test("is made in the name of the node when it is for no request", async () => {
    const name = place === "over NATS" ? "billing" : "rollcall";
    const created = await call(broker(), "users.create", newUser());
    expect(await storedEvents(nodes, created.id)).toMatchObject([{ actor: `service:${name}` }]);
  });
});

describe("a call from another node that names no principal", () => {
  let stranger: ServiceBroker;

  beforeAll(async () => {
    // Moleculer as it comes, without our middlewares.
    stranger = new ServiceBroker({
      namespace: "rollcall",
      nodeID: "stranger",
      transporter: { type: "NATS", options: { url: nodes.nats.url } },
      logger: false,
    });
    await stranger.start();
    await stranger.waitForServices("users");
  });

  afterAll(() => stranger.stop());

  test.each([
    ["users.list", {}],
    ["users.create", newUser()],
    ["users.health", {}],
    ["$node.list", {}],
  ])("is refused: %s", async (action, params) => {
    const { nodeID } = users;
    await expect(stranger.call(action, params, { nodeID })).rejects.toMatchObject({
      type: "UNAUTHENTICATED",
      code: 401,
    });
  });

  test("is allowed as soon as it names one that may", async () => {
    await expect(stranger.call("users.list", {}, asService("stranger"))).resolves.toMatchObject({
      data: expect.any(Array),
    });
  });
});

describe("the calls that a request leads to", () => {
  test("are made by its principal, on every node on the way", async () => {
    const { id } = await call(users, "users.create", newUser());
    sibling.createService({
      name: "greeting",
      actions: {
        rename: (ctx: Context<{ id: string }>) =>
          call(ctx, "users.update", { id: ctx.params.id, nickname: "x" }),
      },
    });
    await users.waitForServices("greeting");

    await users.call("greeting.rename", { id }, asService("other"));

    expect((await storedEvents(nodes, id)).map(({ actor }) => actor)).toEqual([
      "service:rollcall",
      "service:other",
    ]);
  });

  test("leave the metadata of the caller as it was", async () => {
    const meta: PrincipalMeta = {};
    await call(sibling, "users.list", {}, { meta });
    expect(meta).toEqual({});
  });
});

describe("the role of a user", () => {
  let id: string;

  beforeEach(async () => {
    ({ id } = await call(users, "users.create", newUser()));
  });

  test("is changed by an admin, with its event", async () => {
    const changed = await call(sibling, "users.update", { id, role: "admin" }, as(ADMIN));
    expect(changed).toMatchObject({ role: "admin", version: 2 });
    expect(await storedEvents(nodes, id)).toMatchObject([
      {},
      { type: "user-updated_v1", changedFields: ["role"], data: { role: "admin" } },
    ]);
  });

  test("is not changed by itself, by an API key, or by an admin who is the user", async () => {
    const self: Principal[] = [userOf(id), { kind: "user", id, role: "admin" }, WRITER];
    expect(await outcomes(sibling, "users.update", { id, role: "admin" }, self)).toEqual([
      "FORBIDDEN",
      "FORBIDDEN",
      "FORBIDDEN",
    ]);
    expect(await outcomes(sibling, "users.update", { id, nickname: "x" }, self)).toEqual([
      "allowed",
      "allowed",
      "allowed",
    ]);
    await expect(call(users, "users.get", { id })).resolves.toMatchObject({ role: "user", nickname: "x" });
  });
});

describe("an idempotency key", () => {
  test("of one principal says nothing to another one", async () => {
    const { id } = await call(users, "users.create", newUser());
    const other = await call(users, "users.create", newUser());
    const key = "the same key";
    const first = await ask(sibling, "users.update", { id, nickname: "one" }, withKey(key, as(userOf(id))));
    const second = await ask(
      sibling,
      "users.update",
      { id: other.id, nickname: "two" },
      withKey(key, as(userOf(other.id))),
    );
    expect([first.isReplay, second.isReplay]).toEqual([false, false]);
    expect([first.result.nickname, second.result.nickname]).toEqual(["one", "two"]);
  });
});

describe("while sign-up is open", () => {
  test("everybody may create users, and the actor of the event is nobody", async () => {
    const { broker } = await nodes.start({ SERVICES: "none", SIGNUP: "open" });
    const open = await nodes.start({ SERVICES: "users", SIGNUP: "open" });
    const user = await call(open.broker, "users.create", newUser(), as(ANONYMOUS));
    expect(await storedEvents(nodes, user.id)).toMatchObject([{ actor: "anonymous" }]);
    // The node that has the action decides, not the one that asks.
    const elsewhere = { ...as(ANONYMOUS), nodeID: users.nodeID };
    await expect(call(broker, "users.create", newUser(), elsewhere)).rejects.toMatchObject({
      type: "UNAUTHENTICATED",
    });
  });
});
