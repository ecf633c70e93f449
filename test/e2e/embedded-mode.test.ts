import { existsSync } from "node:fs";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "@jest/globals";

import { adminClient } from "../support/admin.ts";
import { PROCESS_PATIENCE } from "../support/patience.ts";
import { dirOf, testUsers } from "../support/postgres-owners.ts";
import { processesOfRun } from "../support/processes.ts";
import type { RestClient, UserBody } from "../support/rest-client.ts";
import {
  complaintsOf,
  launchRollcall,
  startRollcall,
  type Rollcall,
  type RollcallOptions,
} from "../support/rollcall-process.ts";
import { temporaryDir } from "../support/test-run.ts";
import { waitFor } from "../support/wait-for.ts";

/*
 * One process with everything in it, as somebody has it who has just typed `make run`.
 */

const DEAD_LETTER_ID = "01890a5d-9c2e-7f41-8d3a-5b1c2d3e4f50";

let nodes: Rollcall[] = [];

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  nodes = [];
});

describe.each(testUsers)("as $name", (user) => {
  test("a node says where it is, ends at Ctrl-C with nothing left running, and finds its data again", async () => {
    const dataDir = await dirOf(user);
    const options = { prefix: user.prefix, env: { DATA_DIR: dataDir } };
    const first = await start(options);
    const { id } = await withClient(first, (client) => client.createUser({ firstName: "Grace" }));

    first.pressCtrlC();

    expect(await first.ended).toEqual({ exitCode: 0, signal: null });
    expect(complaintsOf(first)).toEqual([]);
    expect(processesOfRun("DATA_DIR", dataDir)).toEqual([]);

    const second = await start(options);
    const response = await withClient(second, (client) => client.get(`/api/v1/users/${id}`));
    expect(response.json as UserBody).toMatchObject({ id, firstName: "Grace" });
  });
});

test("Ctrl-C in the middle of the first start ends it with nothing left running, and the next start works", async () => {
  const dataDir = temporaryDir("data");
  const options = { env: { DATA_DIR: dataDir } };
  const first = launchRollcall(options);
  nodes.push(first);
  await waitFor(() => existsSync(join(dataDir, "postgres.new")), { description: "initdb to begin" });

  first.pressCtrlC();

  expect(await first.ended).toEqual({ exitCode: 0, signal: null });
  expect(complaintsOf(first)).toEqual([]);
  expect(first.log.at(-1)?.msg).toBe("node stopped");
  expect(processesOfRun("DATA_DIR", dataDir)).toEqual([]);

  const second = await start(options);
  expect((await withClient(second, (client) => client.get("/health/ready"))).status).toBe(200);
});

test("the REPL has commands for events and images", async () => {
  const lines = [
    "events status",
    "events:status",
    "events replay 1",
    "events replay soon",
    `events replay ${DEAD_LETTER_ID} --consumer mailer`,
    "events dead-letters",
    "events dead-letters --consumer mailer --replayed",
    "events",
    "help events:replay",
    "images reconcile",
    "images reconcile --fix",
    "q",
  ];
  const node = launchRollcall({ env: PROCESS_PATIENCE, args: ["--repl"], input: `${lines.join("\n")}\n` });
  nodes.push(node);

  expect(await node.ended).toEqual({ exitCode: 0, signal: null });
  expect(node.output.match(/pending: \d+,/g)).toHaveLength(2);
  // Without NATS nothing is.
  expect(node.output).toContain("Nothing that was published from there on is left in the log.");
  expect(node.output).toContain("VALIDATION_FAILED: The 'id' field must be a valid UUID.");
  expect(node.output).toContain(`There is no dead letter of the event '${DEAD_LETTER_ID}'.`);
  expect(node.output.match(/There are no dead letters\./g)).toHaveLength(2);
  expect(node.output.match(/0 images, 0 objects: 0 do not fit\./g)).toHaveLength(2);
  // The REPL's own command of this name.
  expect(node.output).toContain("events-appended");
  expect(node.output).toContain("Usage: Moleculer REPL events:replay [options] <what>");
});

test("the REPL calls actions, and its q stops the node in order", async () => {
  const dataDir = temporaryDir("data");
  const node = launchRollcall({
    env: { DATA_DIR: dataDir, ...PROCESS_PATIENCE },
    args: ["--repl"],
    input: "call users.create --email ada@example.com --firstName Ada --lastName Lovelace\nq\n",
  });
  nodes.push(node);

  expect(await node.ended).toEqual({ exitCode: 0, signal: null });
  expect(node.output).toContain("Type q to stop.");
  expect(node.output).toContain("email: 'ada@example.com'");
  const messages = node.log.map(({ msg }) => msg);
  const stopped = messages.filter((msg) => / stopped\.?$/.test(msg) && !msg.includes("$node"));
  expect(stopped[0]).toBe("Service 'api' stopped.");
  // Those behind the gateway stop at the same time.
  expect(stopped.slice(1, -2).toSorted()).toEqual(
    ["auth", "cache", "cache-node", "events", "images", "users"].map((name) => `Service '${name}' stopped.`),
  );
  expect(stopped.slice(-2)).toEqual(["Embedded PostgreSQL stopped", "node stopped"]);
  expect(processesOfRun("DATA_DIR", dataDir)).toEqual([]);
});

async function start(options: RollcallOptions = {}): Promise<Rollcall> {
  const node = await startRollcall(options);
  nodes.push(node);
  return node;
}

async function withClient<T>(node: Rollcall, use: (client: RestClient) => Promise<T>): Promise<T> {
  const client = await adminClient(node.url);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
