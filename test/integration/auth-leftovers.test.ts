import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { deleteLeftovers } from "../../services/auth/leftovers.ts";
import { CredentialsRepository } from "../../services/auth/credentials.repository.ts";
import { SessionsRepository } from "../../services/auth/sessions.repository.ts";
import { Database } from "../../lib/database.ts";
import { loadConfig } from "../../lib/config.ts";
import { claimsOf, createUserWithPassword, logIn, PASSWORD } from "../support/auth-nodes.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";

let nodes: TestNodes;
let broker: ServiceBroker;
let database: Database;

beforeAll(async () => {
  nodes = await startTestNodes();
  ({ broker } = await nodes.start({ SERVICES: "users,auth" }));
  database = new Database({ ...loadConfig({}), DATABASE_URL: nodes.databaseUrl }, silentLogger);
});

afterAll(async () => {
  await database.close();
  await nodes.stop();
});

const sweep = () =>
  deleteLeftovers({
    broker,
    credentials: new CredentialsRepository(database),
    sessions: new SessionsRepository(database),
  });
const setBack = (time: string) =>
  nodes.sql(`UPDATE auth.credentials SET changed_at = now() - interval '${time}'`);
const owners = async () =>
  (await nodes.sql<{ id: string }>("SELECT user_id AS id FROM auth.credentials")).map(({ id }) => id);

test("the password of a user who was never created is deleted after an hour; those of others, deleted ones too, stay", async () => {
  const [alive, deleted] = [await createUserWithPassword(broker), await createUserWithPassword(broker)];
  await call(broker, "users.delete", { id: deleted.id });
  const nobody = randomUUID();
  await call(broker, "auth.setPassword", { userId: nobody, password: PASSWORD });

  await setBack("59 minutes");
  await sweep();
  expect(await owners()).toHaveLength(3);

  await setBack("61 minutes");
  await sweep();
  expect(new Set(await owners())).toEqual(new Set([alive.id, deleted.id]));
  await logIn(broker, alive);
});

test("sessions that are over are deleted with their tokens, but not before their access tokens have expired", async () => {
  const user = await createUserWithPassword(broker);
  const [ended, justEnded, expired, live] = [
    await logIn(broker, user),
    await logIn(broker, user),
    await logIn(broker, user),
    await logIn(broker, user),
  ].map((tokens) => String(claimsOf(tokens)["sid"]));
  await nodes.sql("UPDATE auth.sessions SET ended_at = now() - interval '61 minutes' WHERE id = $1", [ended]);
  await nodes.sql("UPDATE auth.sessions SET ended_at = now() WHERE id = $1", [justEnded]);
  await nodes.sql("UPDATE auth.sessions SET expires_at = now() - interval '1 second' WHERE id = $1", [
    expired,
  ]);

  await sweep();

  const left = await nodes.sql<{ id: string }>(
    `SELECT session.id FROM auth.sessions AS session JOIN auth.refresh_tokens ON session_id = session.id
      WHERE user_id = $1`,
    [user.id],
  );
  expect(new Set(left.map(({ id }) => id))).toEqual(new Set([justEnded, live]));
});

test("as much as there is goes in one sweep: a busy system must not have more of it each time", async () => {
  const many = 250;
  await nodes.sql(`INSERT INTO auth.credentials (user_id, password_hash, changed_at)
    SELECT gen_random_uuid(), '', now() - interval '2 hours' FROM generate_series(1, ${many})`);
  await nodes.sql(`WITH over AS (
      INSERT INTO auth.sessions (id, created_at, last_used_at, expires_at)
      SELECT gen_random_uuid(), now(), now(), now() - interval '1 second' FROM generate_series(1, ${many}) RETURNING id)
    INSERT INTO auth.refresh_tokens (hash, session_id, expires_at)
    SELECT sha256((id::text || number)::bytea), id, now() + interval '1 hour' FROM over, generate_series(1, 10) AS number`);

  await sweep();

  const left = `SELECT (SELECT count(*) FROM auth.credentials WHERE password_hash = '')::integer AS credentials,
    (SELECT count(*) FROM auth.sessions WHERE expires_at < now())::integer AS sessions`;
  expect(await nodes.sql(left)).toEqual([{ credentials: 0, sessions: 0 }]);
});
