import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { ACTION_ACCESS } from "../../lib/access.ts";
import { call } from "../../lib/contracts.ts";
import type { User } from "../../services/users/users.contract.ts";
import { ADMIN_SETTINGS, adminClient } from "../support/admin.ts";
import { problemOf } from "../support/problems.ts";
import { newUser, type RestClient } from "../support/rest-client.ts";
import { portOf } from "../support/test-gateway.ts";
import { startTestNodes, startUsersPair, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let a: ServiceBroker;
let b: ServiceBroker;
let caller: ServiceBroker;
let client: RestClient;

beforeAll(async () => {
  nodes = await startTestNodes();
  const [pair, gateway] = await Promise.all([
    startUsersPair(nodes, { DATABASE_STATEMENT_TIMEOUT_MS: "1500" }),
    nodes.start({ SERVICES: "auth,api", ...ADMIN_SETTINGS }),
  ]);
  ({ a, b, caller } = pair);
  client = await adminClient(`http://127.0.0.1:${portOf(gateway.broker)}`);
});

afterAll(async () => {
  client.close();
  await nodes.stop();
});

describe("an error that crosses NATS", () => {
  test.each<[string, (broker: ServiceBroker) => Promise<unknown>, object]>([
    [
      "of validation",
      (broker) => broker.call("users.create", { email: "nobody", role: "admin" }),
      { type: "VALIDATION_ERROR", retryable: false, data: expect.any(Array) },
    ],
    [
      "of a rule",
      async (broker) => {
        const { email } = await call(broker, "users.create", newUser());
        await call(broker, "users.create", newUser({ email }));
      },
      { type: "EMAIL_TAKEN", code: 409, retryable: false, data: { errors: [{ field: "email" }] } },
    ],
    [
      "of a missing user",
      (broker) => call(broker, "users.get", { id: UNKNOWN_ID }),
      { type: "USER_NOT_FOUND", code: 404, retryable: false, data: { detail: expect.any(String) } },
    ],
    [
      "of the database",
      async (broker) => {
        const holder = await nodes.openTransaction(["LOCK TABLE users.users"]);
        const [listing] = await Promise.allSettled([call(broker, "users.list", {}, { retries: 0 })]);
        await holder.commit();
        if (listing.status === "rejected") throw listing.reason;
      },
      { type: "DATABASE_UNAVAILABLE", code: 503, retryable: true },
    ],
  ])(
    "%s has the type, code, data and retryability that it has on its own node",
    async (_, provoke, expected) => {
      const local = await outsideOf(provoke(a));
      const remote = await outsideOf(provoke(caller));

      expect(remote).toMatchObject(expected);
      expect(remote).toEqual(local);
    },
  );
});

describe("a page that crosses NATS", () => {
  test("is to an HTTP client what it is to a sibling service", async () => {
    await call(a, "users.create", newUser({ lastName: 'Ōe "data":' }));
    await call(a, "users.create", newUser());
    const page = await call(caller, "users.list", { limit: 1 });
    const response = await client.get(`/api/v1/users?limit=1&cursor=${page.nextCursor}`);

    expect(response.json).toEqual(
      await call(caller, "users.list", { limit: 1, cursor: page.nextCursor ?? "" }),
    );
    expect(response.json).toMatchObject({ data: [{ lastName: 'Ōe "data":' }] });
  });
});

describe("a user in the memory caches of two nodes", () => {
  test("is the changed one on both soon after a change on one", async () => {
    const user = await call(a, "users.create", newUser());
    await readOnBoth(user.id);

    await call(a, "users.update", { id: user.id, lastName: "King" });

    await waitFor(async () => (await call(b, "users.get", { id: user.id })).lastName === "King", {
      description: "the other node to drop the old user",
    });
    expect(await call(a, "users.get", { id: user.id })).toMatchObject({ lastName: "King", version: 2 });
  });

  test("is gone from both soon after it was erased on one", async () => {
    const { id } = await call(a, "users.create", newUser());
    await readOnBoth(id);

    await call(b, "users.erase", { id });

    await waitFor(() => isGone(a, id), { description: "the other node to drop the erased user" });
    expect(await isGone(b, id)).toBe(true);
  });

  test("is not read from a cache when the caller wants it fresh", async () => {
    const staleUser = async (): Promise<string> => {
      const { id } = await call(a, "users.create", newUser());
      await readOnBoth(id);
      await nodes.sql("UPDATE users.users SET last_name = 'Past the product' WHERE id = $1", [id]);
      return (await call(a, "users.get", { id })).lastName === "Lovelace" ? id : "";
    };
    // That the old one is still there shows that it is a cache that answers.
    const id = await waitFor(staleUser, { description: "a cache that answers" });
    expect(await call(a, "users.get", { id }, { meta: { $cache: false } })).toMatchObject({
      lastName: "Past the product",
    });
  });
});

describe("what a node offers to others", () => {
  test("is the actions of the contract, and none that a framework brings along", () => {
    const offered = caller.registry
      .getActionList({ skipInternal: true, onlyAvailable: true })
      .map(({ name }) => name)
      .toSorted();

    const ofContract = Object.keys(ACTION_ACCESS).filter((name) => !/^(?:cache|events|images)\./.test(name));
    expect(offered).toEqual(ofContract.toSorted());
  });

  test.each([
    "api.rest",
    "api.listAliases",
    "api.addRoute",
    "users.find",
    "users.insert",
    "users.remove",
    "users.count",
  ])("does not have %s", async (action) => {
    await expect(caller.call(action, {}, { retries: 0 })).rejects.toMatchObject({
      type: "SERVICE_NOT_FOUND",
    });
  });
});

describe("what the gateway offers to the world", () => {
  test.each([
    "/$node/list",
    "/~node/list",
    "/%7Enode/list",
    "/node/health",
    "/api/v1/$node/list",
    "/api/v1/~node/services",
    "/api/rest",
    "/users/list",
    "/users.list",
    "/api/v1/users.getByEmail?email=ada@example.com",
    "/api/v1/users/getByEmail/ada@example.com",
    "/users/health",
  ])("does not have %s", async (path) => {
    for (const method of ["GET", "POST"]) {
      const response = await client.request(method, path);
      expect(problemOf(response)).toMatchObject({ status: 404, code: "ROUTE_NOT_FOUND" });
    }
  });
});

const UNKNOWN_ID = randomUUID();

/** Of an error, what a caller may rely on. */
async function outsideOf(calling: Promise<unknown>): Promise<object> {
  const error = await calling.then(
    () => ({}),
    (reason: { type: string; code: number; message: string; retryable: boolean; data: unknown }) => reason,
  );
  const { type, code, message, retryable, data } = error as Record<string, unknown>;
  return { type, code, message, retryable, data: withoutNode(data) };
}

/** Moleculer adds to what a validator reports where it was found. */
function withoutNode(data: unknown): unknown {
  if (!Array.isArray(data)) return data;
  return data.map((entry: object) => ({ ...entry, nodeID: undefined }));
}

async function readOnBoth(id: string): Promise<User[]> {
  return Promise.all([a, b].map((broker) => call(broker, "users.get", { id })));
}

async function isGone(broker: ServiceBroker, id: string): Promise<boolean> {
  return call(broker, "users.get", { id }).then(
    () => false,
    ({ type }: { type: string }) => type === "USER_NOT_FOUND",
  );
}
