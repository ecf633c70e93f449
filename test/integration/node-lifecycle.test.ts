import { createSocket } from "node:dgram";
import { getServers, setServers } from "node:dns";
import { once } from "node:events";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";

import { migrate } from "../../bootstrap/migrate.ts";
import { call } from "../../lib/contracts.ts";
import { codeOf } from "../../lib/problem.ts";
import { ADMIN_SETTINGS, adminClient } from "../support/admin.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { freePort } from "../support/ports.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";
import { withKey } from "../support/requests.ts";
import { newUser, RestClient } from "../support/rest-client.ts";
import { launchRollcall, runRollcall, startRollcall } from "../support/rollcall-process.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { storedUsers } from "../support/stored-rows.ts";
import { portOf } from "../support/test-gateway.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const SECRET = "a secret of at least 32 characters";

/** The one that these tests stop and freeze. */
let postgres: TestPostgres;
let nodes: TestNodes;

beforeAll(async () => {
  postgres = await startPostgres();
  await migrate(postgres.url, silentLogger);
  nodes = await startTestNodes({ url: postgres.url, drop: () => postgres.stop() });
});

afterEach(() => postgres.thaw());

afterAll(() => nodes.stop());

describe("a node that starts", () => {
  test("while NATS or PostgreSQL is away ends with 1 at its deadline and says why it could not connect", async () => {
    const [natsPort, postgresPort] = [await freePort(), await freePort()];
    const run = (env: Record<string, string>) => runRollcall({ env: { ...env, START_DEADLINE_MS: "6000" } });

    const [withoutNats, withoutPostgres] = await Promise.all([
      run({ SERVICES: "none", NATS_URL: `nats://127.0.0.1:${natsPort}`, SECRET }),
      run({ SERVICES: "users", DATABASE_URL: `postgres://ada@127.0.0.1:${postgresPort}/rollcall` }),
    ]);

    expect([withoutNats.exitCode, withoutPostgres.exitCode]).toEqual([1, 1]);
    expect(withoutNats.output).toMatch(
      /^The node was not ready within 6000 ms: no connection to nats \(CONNECTION_REFUSED\)\.$/m,
    );
    expect(withoutPostgres.output).toContain(
      `The node was not ready within 6000 ms: no connection to postgresql (connect ECONNREFUSED 127.0.0.1:${postgresPort}).`,
    );
    expect(withoutPostgres.output).toMatch(/"dependency":"postgresql".*"msg":"dependency lost"/);
  });

  test("while NATS and PostgreSQL are frozen does not wait beyond its deadline", async () => {
    postgres.freeze();
    nodes.nats.freeze();
    const env = { SERVICES: "users", DATABASE_URL: postgres.url, NATS_URL: nodes.nats.url, SECRET };

    const ended = await runRollcall({ env: { ...env, START_DEADLINE_MS: "6000" } });

    nodes.nats.thaw();
    expect(ended.exitCode).toBe(1);
    expect(ended.output).toMatch(/^The node was not ready within 6000 ms: no connection to postgresql/m);
  });

  test("finds NATS by a name of the hosts file, also while DNS is silent", async () => {
    const silentDns = createSocket("udp4").bind(0, "127.0.0.1");
    await once(silentDns, "listening");
    const servers = getServers();
    setServers([`127.0.0.1:${silentDns.address().port}`]);
    try {
      const { port } = new URL(nodes.nats.url);
      const node = await nodes.start({
        SERVICES: "none",
        NATS_URL: `nats://localhost:${port}`,
        START_DEADLINE_MS: "15000",
      });
      expect(node.broker.started).toBe(true);
    } finally {
      setServers(servers);
      silentDns.close();
    }
  });

  test("before PostgreSQL does is up as soon as PostgreSQL is", async () => {
    const { log, entries } = capturingLogger();
    postgres.freeze();

    const starting = nodes.start({ SERVICES: "users", NATS_URL: "" }, log);
    await waitFor(() => entries.some(({ msg }) => msg === "dependency lost"), {
      description: "the node to wait",
    });
    postgres.thaw();
    const node = await starting;

    expect(await call(node.broker, "users.list", {})).toMatchObject({ data: expect.any(Array) });
    expect(entries.map(({ msg }) => msg)).toEqual(
      expect.arrayContaining(["dependency back", "node started"]),
    );
    await node.stop();
  });
});

describe("a node whose PostgreSQL freezes", () => {
  test("fails its calls within the request timeout, writes nothing twice, and works when it is back", async () => {
    const { log, entries } = capturingLogger();
    const settings = {
      SERVICES: "users",
      NATS_URL: "",
      REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
      DATABASE_STATEMENT_TIMEOUT_MS: "1500",
      DATABASE_ACQUIRE_TIMEOUT_MS: "2000",
    };
    const { broker, ...node } = await nodes.start(settings, log);
    const [user, params] = [await call(broker, "users.create", newUser()), newUser()];
    postgres.freeze();

    const startedAt = performance.now();
    const failures = await Promise.allSettled([
      call(broker, "users.create", params, withKey("frozen", { retries: 0 })),
      call(broker, "users.update", { id: user.id, lastName: "King" }, { retries: 0 }),
      call(broker, "users.list", {}, { retries: 0 }),
    ]);

    expect(performance.now() - startedAt).toBeLessThan(REQUEST_TIMEOUT_MS);
    expect(failures.map((failure) => failure.status === "rejected" && codeOf(failure.reason))).toEqual([
      "DATABASE_UNAVAILABLE",
      "DATABASE_UNAVAILABLE",
      "DATABASE_UNAVAILABLE",
    ]);
    const isLost = ({ msg, dependency }: (typeof entries)[number]) =>
      msg === "dependency lost" && dependency === "postgresql";
    await waitFor(() => entries.some(isLost), { description: "the node to say what it has lost" });

    postgres.thaw();
    await waitFor(() => call(broker, "users.create", params, withKey("frozen")), {
      description: "calls to work",
    });
    expect(await storedUsers(nodes, params.email)).toHaveLength(1);
    await node.stop();
  });
});

describe("a node that stops", () => {
  test("finishes every request that its gateway has taken, then closes everything", async () => {
    const { log, entries } = capturingLogger();
    const settings = { SERVICES: "all", NATS_URL: "", ...ADMIN_SETTINGS };
    const node = await nodes.start(settings, log);
    const url = `http://127.0.0.1:${portOf(node.broker)}`;
    const client = await adminClient(url);
    const bodies = Array.from({ length: 8 }, () => newUser());
    const holder = await nodes.openTransaction(["LOCK TABLE users.users IN SHARE MODE"]);
    const requests = bodies.map((body) => client.post("/api/v1/users", body));
    await nodes.untilBlocked(bodies.length);

    const stopping = node.stop();
    await waitFor(() => isRefused(url), { description: "the gateway to take no more requests" });
    await holder.commit();
    const responses = await Promise.all(requests);
    const answeredAt = performance.now();
    await stopping;
    expect(performance.now() - answeredAt).toBeLessThan(AT_ONCE_MS);
    client.close();

    expect(responses.map(({ status }) => status)).toEqual(bodies.map(() => 201));
    expect(await storedUsers(nodes, "@example.com")).toEqual(
      expect.arrayContaining(responses.map(({ json }) => json)),
    );
    expect(entries.filter(({ level }) => level >= ERROR)).toEqual([]);
  });

  test("answers what comes while it drains as before, to the last request that it takes", async () => {
    const settings = { SERVICES: "all", NATS_URL: "", DRAIN_DELAY_MS: "1000", ...ADMIN_SETTINGS };
    const node = await nodes.start(settings);
    const client = await adminClient(`http://127.0.0.1:${portOf(node.broker)}`);
    await client.createUser();

    const stopping = node.stop();
    const statuses = await statusesUntilRefused(client);
    await stopping;
    client.close();

    expect(statuses.length).toBeGreaterThan(0);
    expect(statuses.filter((status) => status !== 201)).toEqual([]);
  });

  test("while its PostgreSQL is frozen waits no longer than a statement and a connection may take", async () => {
    const timeouts = { DATABASE_STATEMENT_TIMEOUT_MS: "500", DATABASE_ACQUIRE_TIMEOUT_MS: "2000" };
    const settings = { SERVICES: "users", NATS_URL: "", ...timeouts };
    const node = await nodes.start(settings);
    await call(node.broker, "users.list", {});
    postgres.freeze();

    const startedAt = performance.now();
    await node.stop();

    expect(performance.now() - startedAt).toBeLessThan(2 * AT_ONCE_MS);
  });

  test("says in its log that it has started, is stopping and has stopped", async () => {
    const node = await startRollcall({ env: { SERVICES: "users", DATABASE_URL: postgres.url } });

    const ended = await node.stop();

    expect(ended).toEqual({ exitCode: 0, signal: null });
    const lines = node.log.filter(({ msg }) => msg.startsWith("node "));
    expect(lines).toMatchObject([
      { level: "info", msg: "node started", services: ["users"] },
      { level: "info", msg: "node stopping", signal: "SIGTERM" },
      { level: "info", msg: "node stopped" },
    ]);
  });

  test("because it was told to while it waits for PostgreSQL, does not wait for it", async () => {
    const env = { SERVICES: "users", DATABASE_URL: `postgres://ada@127.0.0.1:${await freePort()}/rollcall` };
    const node = launchRollcall({ env });
    await waitFor(() => node.log.some(({ msg }) => msg === "dependency lost"), {
      description: "the node to wait",
    });

    expect(await node.stop()).toEqual({ exitCode: 0, signal: null });
  });
});

/** Level of errors in the log. */
const ERROR = 50;
const REQUEST_TIMEOUT_MS = 8_000;
/** Far below the time for which a gateway waits for requests that do not end. */
const AT_ONCE_MS = 6_000;

/** Sends one request after the other, for as long as they are taken. */
async function statusesUntilRefused(client: RestClient): Promise<number[]> {
  const statuses: number[] = [];
  try {
    for (;;) statuses.push((await client.post("/api/v1/users", newUser())).status);
  } catch {
    return statuses;
  }
}

async function isRefused(url: string): Promise<boolean> {
  const client = new RestClient(url);
  const refused = await client.get("/health/live").then(
    () => false,
    () => true,
  );
  client.close();
  return refused;
}
