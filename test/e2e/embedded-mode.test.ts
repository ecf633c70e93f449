import { afterEach, describe, expect, test } from "@jest/globals";

import { dirOf, testUsers } from "../support/postgres-owners.ts";
import { processTree, stillRunning } from "../support/processes.ts";
import { RestClient, type UserBody } from "../support/rest-client.ts";
import { startRollcall, type Rollcall, type RollcallOptions } from "../support/rollcall-process.ts";

let nodes: Rollcall[] = [];

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  nodes = [];
});

describe.each(testUsers)("as $name", (user) => {
  test("a node says where it is, ends at Ctrl-C with nothing left running, and finds its data again", async () => {
    const options = { prefix: user.prefix, env: { DATA_DIR: await dirOf(user) } };
    const first = await start(options);
    const { id } = await withClient(first, (client) => client.createUser({ firstName: "Grace" }));

    const processes = processTree(first.pid);
    first.signal("SIGINT");
    expect(await first.ended).toEqual({ exitCode: 0, signal: null });
    expect(processes.length).toBeGreaterThan(1);
    expect(stillRunning(processes)).toEqual([]);

    const second = await start(options);
    const response = await withClient(second, (client) => client.get(`/api/v1/users/${id}`));
    expect(response.json as UserBody).toMatchObject({ id, firstName: "Grace" });
  }, 60_000);
});

async function start(options: RollcallOptions = {}): Promise<Rollcall> {
  const node = await startRollcall(options);
  nodes.push(node);
  return node;
}

async function withClient<T>(node: Rollcall, use: (client: RestClient) => Promise<T>): Promise<T> {
  const client = new RestClient(node.url);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
