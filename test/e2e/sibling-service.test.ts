import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";
import pg from "pg";

import { createTestDatabase, type TestDatabase } from "../support/databases.ts";
import { startNats } from "../support/nats.ts";
import { launchRollcall, startRollcall, untilLogged, type Rollcall } from "../support/rollcall-process.ts";
import type { TestServer } from "../support/server-process.ts";
import { createTestBroker } from "../support/test-broker.ts";
import { waitFor } from "../support/wait-for.ts";

const FOLDER = join(import.meta.dirname, "../../examples/welcome-mail");
const SIBLING = "../examples/welcome-mail/start.ts";
const PLAIN_PROGRAM = "../examples/plain-program/start.ts";

let database: TestDatabase;
let nats: TestServer;
let client: pg.Client;
let rollcall: Rollcall;
let sibling: Rollcall;
/** Another process on NATS, which is nothing but a caller. */
let caller: ServiceBroker;
let env: Record<string, string>;

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase(), startNats({ jetStream: true })]);
  client = new pg.Client(database.url);
  await client.connect();
  await client.query(await readFile(join(FOLDER, "schema.sql"), "utf8"));
  env = { DATABASE_URL: database.url, NATS_URL: nats.url, SECRET: "0".repeat(32) };
  caller = createTestBroker({ NATS_URL: nats.url });
  [rollcall, sibling] = await Promise.all([
    startRollcall({ env: { ...env, SERVICES: "users,events" } }),
    startRollcall({ env, program: SIBLING }),
    caller.start(),
  ]);
  await caller.waitForServices("users", 10_000);
});

afterAll(async () => {
  await Promise.all([rollcall.stop(), sibling.stop(), caller.stop(), client.end()]);
  await Promise.all([database.drop(), nats.stop()]);
});

const signUp = (): Promise<{ id: string; email: string }> =>
  caller.call("users.create", {
    email: `${randomUUID()}@example.com`,
    firstName: "Ada",
    lastName: "Lovelace",
  });

async function untilMailed(users: readonly { id: string }[]): Promise<void> {
  await waitFor(async () => (await mails()).length >= users.length, {
    description: `${users.length} mails`,
  });
}

async function mails(): Promise<{ user_id: string; address: string; text: string }[]> {
  const { rows } = await client.query<{ user_id: string; address: string; text: string }>(
    "SELECT * FROM welcome_mail.outgoing ORDER BY user_id",
  );
  return rows;
}

test("the example writes one mail to each new user, also to those of whom it hears after it was killed", async () => {
  const users = [await signUp(), await signUp()];
  await untilMailed(users);

  await sibling.kill();
  users.push(await signUp(), await signUp());
  sibling = await startRollcall({ env, program: SIBLING });
  await untilMailed(users);

  const expected = users.map(({ id, email }) => ({ user_id: id, address: email, text: "Welcome, Ada!" }));
  expect(await mails()).toEqual(expected.toSorted((a, b) => a.user_id.localeCompare(b.user_id)));
});

test("the example stops in order at SIGTERM", async () => {
  const { exitCode } = await sibling.stop();

  await untilLogged(sibling, { msg: "node stopped" });
  expect(exitCode).toBe(0);
});

test("the example without code of ours greets each new user, those too that were there before it", async () => {
  await signUp();
  const { rowCount } = await client.query("SELECT FROM users.users");
  const before = rowCount ?? 0;
  const program = launchRollcall({ program: PLAIN_PROGRAM, env: { NATS_URL: nats.url } });
  // Each once, as an event may come again.
  const greetings = () => new Set(program.output.match(/^Hello, Ada! \(event .*\)$/gm));
  try {
    await waitFor(() => greetings().size >= before, { description: "a greeting for each user" });
    await signUp();
    await waitFor(() => greetings().size > before, { description: "another greeting" });
  } finally {
    await program.stop();
  }
  expect(greetings().size).toBe(before + 1);
});
