import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { withKey } from "../support/requests.ts";
import { newUser } from "../support/rest-client.ts";
import { startRollcall, type Rollcall } from "../support/rollcall-process.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

/** Longer than a test may take: who waits for it fails. */
const HOUR_MS = 3_600_000;

let nodes: TestNodes;
let caller: ServiceBroker;

beforeAll(async () => {
  nodes = await startTestNodes();
  ({ broker: caller } = await nodes.start({ SERVICES: "none" }));
  // However long a start takes on this machine, it is not missed meanwhile.
  const { opts } = caller.registry.discoverer as unknown as { opts: object };
  Object.assign(opts, { heartbeatTimeout: HOUR_MS / 1000 });
});

afterAll(() => nodes.stop());

test("what a node worked on when it was killed is done by the one that is back under its name", async () => {
  const killed = await startUsers();
  await untilSeen();
  const { id } = await call(caller, "users.create", newUser());
  const holder = await nodes.openTransaction(["SELECT FROM users.users WHERE id = $1 FOR UPDATE", [id]]);
  const options = { ...withKey(randomUUID()), timeout: HOUR_MS };
  const update = call(caller, "users.update", { id, lastName: "King" }, options);
  await nodes.untilBlocked(1);

  await killed.kill();
  const back = await startUsers();
  await holder.rollback();

  expect(await update).toMatchObject({ lastName: "King", version: 2 });
  await back.stop();
});

function startUsers(): Promise<Rollcall> {
  return startRollcall({
    env: {
      SERVICES: "users",
      NODE_ID: "users",
      DATABASE_URL: nodes.databaseUrl,
      NATS_URL: nodes.nats.url,
      SECRET: "the same on all nodes, as they read each other's cursors",
    },
  });
}

async function untilSeen(): Promise<void> {
  const isSeen = (): boolean => caller.registry.getServiceList({}).some(({ name }) => name === "users");
  await waitFor(isSeen, { description: "the node to be seen" });
}
