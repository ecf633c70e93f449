import { randomUUID } from "node:crypto";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { natsConnectionOf } from "../../broker/nats-link.ts";
import { call } from "../../lib/contracts.ts";
import { codeOf } from "../../lib/problem.ts";
import type { User } from "../../services/users/users.contract.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { ask, withKey } from "../support/requests.ts";
import { newUser } from "../support/rest-client.ts";
import { storedEvents, storedUsers } from "../support/stored-rows.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

/** Level of errors in the log. */
const ERROR = 50;

const REQUEST_TIMEOUT_MS = 8_000;
const TIMEOUTS = { REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS), DATABASE_STATEMENT_TIMEOUT_MS: "4000" };
/** How soon calls work again when NATS is back. */
const RECOVERY_MS = 5_000;
/** Of a call that looks whether calls work again: the next one is to come soon after one that got lost. */
const PROBE = { retries: 0, timeout: 1_000 };

let nodes: TestNodes;
let caller: ServiceBroker;
const { log, entries } = capturingLogger();

beforeAll(async () => {
  nodes = await startTestNodes();
  const [, , { broker }] = await Promise.all([
    nodes.start({ SERVICES: "users" }),
    nodes.start({ SERVICES: "users" }),
    nodes.start({ SERVICES: "none", ...TIMEOUTS }, log),
  ]);
  caller = broker;
});

afterEach(async () => {
  nodes.nats.thaw();
  await nodes.nats.restart();
  await untilCallsWork();
});

afterAll(() => nodes.stop());

describe.each([
  ["killed", () => nodes.nats.kill()],
  ["frozen", async () => nodes.nats.freeze()],
])("while NATS is %s", (_, lose) => {
  test("calls fail within the request timeout, may be made again, and what was under way is done once", async () => {
    const key = randomUUID();
    const { id } = await call(caller, "users.create", newUser());
    const holder = await nodes.openTransaction(["SELECT FROM users.users WHERE id = $1 FOR UPDATE", [id]]);
    const params = { id, lastName: "King" };
    const underWay = failureOf(call(caller, "users.update", params, withKey(key)));
    await nodes.untilBlocked(1);

    await lose();
    const startedAt = performance.now();
    const failures = await Promise.all([underWay, failureOf(call(caller, "users.list", {}))]);

    expect(performance.now() - startedAt).toBeLessThan(REQUEST_TIMEOUT_MS);
    for (const failure of failures) {
      expect(failure).toMatchObject({ retryable: true });
      expect(["SERVICE_UNAVAILABLE", "UPSTREAM_TIMEOUT"]).toContain(codeOf(failure));
    }

    await holder.commit();
    nodes.nats.thaw();
    await nodes.nats.restart();
    await untilCallsWork();
    expect(await call(caller, "users.update", params, withKey(key))).toMatchObject({ version: 2 });
    expect(await storedEvents(nodes, id)).toHaveLength(2);
  });
});

describe("when NATS is back", () => {
  test.each([
    ["a kill", () => nodes.nats.kill(), () => nodes.nats.restart()],
    ["a freeze", async () => nodes.nats.freeze(), async () => nodes.nats.thaw()],
  ])("after %s, calls work again soon, and both is in the log once", async (_, lose, bringBack) => {
    const before = entries.length;
    const logged = (): string[] =>
      entries
        .slice(before)
        .filter(({ dependency }) => dependency === "nats")
        .map(({ msg }) => msg);
    await lose();
    await waitFor(() => logged().includes("dependency lost"), { description: "the loss to be logged" });

    await bringBack();
    await waitFor(() => call(caller, "users.list", {}, PROBE), {
      description: "calls to work again",
      timeoutMs: RECOVERY_MS,
    });

    await waitFor(() => logged().at(-1) === "dependency back", { description: "the return to be logged" });
    // On a machine that is very busy NATS may be late, and so lost, another time.
    const turns = logged().map((_msg, index) => (index % 2 === 0 ? "dependency lost" : "dependency back"));
    expect(logged()).toEqual(turns);
  });

  test("after so long that the nodes have forgotten each other, calls work again soon", async () => {
    await nodes.nats.kill();
    const isForgotten = (): boolean =>
      caller.registry.getServiceList({ onlyAvailable: true }).every(({ local }) => local);
    await waitFor(isForgotten, { description: "the nodes to be forgotten" });
    expect(codeOf(await failureOf(call(caller, "users.list", {})))).toBe("SERVICE_UNAVAILABLE");

    await nodes.nats.restart();

    await waitFor(() => call(caller, "users.list", {}, PROBE), {
      description: "calls to work again",
      timeoutMs: RECOVERY_MS,
    });
  });

  test("a request that failed meanwhile can be sent again with its key, and is executed once", async () => {
    const key = randomUUID();
    const params = newUser();
    await nodes.nats.kill();
    await expect(call(caller, "users.create", params, withKey(key))).rejects.toMatchObject({
      retryable: true,
    });

    await nodes.nats.restart();
    await untilCallsWork();

    const { result } = await ask(caller, "users.create", params, withKey(key));
    expect(await storedUsers(nodes, params.email)).toEqual([result]);
  });
});

describe("a node that has lost NATS", () => {
  test("still serves its own callers, and stops without an error", async () => {
    const captured = capturingLogger();
    const own = await nodes.start({ SERVICES: "users" }, captured.log);
    await nodes.nats.kill();

    const user: User = await call(own.broker, "users.create", newUser());
    expect(await call(own.broker, "users.get", { id: user.id })).toEqual(user);
    await own.stop();

    expect(natsConnectionOf(own.broker)).toBeNull();
    const errors = captured.entries.filter(({ level }) => level >= ERROR);
    expect(errors).toMatchObject([{ msg: "dependency lost", dependency: "nats" }]);
  });
});

async function untilCallsWork(): Promise<void> {
  // Of each of the two nodes, as they take calls in turn.
  let answers = 0;
  const isUp = async (): Promise<boolean> => {
    answers = (await call(caller, "users.list", {}, PROBE).then(
      () => true,
      () => false,
    ))
      ? answers + 1
      : 0;
    return answers >= 4;
  };
  await waitFor(isUp, { description: "calls to work again" });
}

async function failureOf(calling: Promise<unknown>): Promise<unknown> {
  return calling.then(
    () => undefined,
    (error: unknown) => error,
  );
}
