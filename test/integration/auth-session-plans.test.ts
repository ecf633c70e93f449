import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";

import type { DatabaseTransaction, Statement } from "../../lib/database-connection.ts";
import { Database } from "../../lib/database.ts";
import { loadConfig } from "../../lib/config.ts";
import { Accounts } from "../../services/auth/accounts.ts";
import { CredentialsRepository } from "../../services/auth/credentials.repository.ts";
import { SessionsRepository } from "../../services/auth/sessions.repository.ts";
import { createTestDatabase, type TestDatabase } from "../support/databases.ts";
import { silentLogger } from "../support/silent-logger.ts";

/** Enough that reading all of them would show. */
const LIVE_SESSIONS = 20_000;
const ENDED_SESSIONS = 200;
const OWNER = randomUUID();

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  // So many rows take a busy machine longer than a statement of a node may.
  const config = loadConfig({ REQUEST_TIMEOUT_MS: "60000", DATABASE_STATEMENT_TIMEOUT_MS: "50000" });
  database = new Database({ ...config, DATABASE_URL: testDatabase.url }, silentLogger);
  const insert = (count: number, userId: string, endedAt: string) =>
    database.query(
      {
        text: `INSERT INTO auth.sessions (id, user_id, created_at, last_used_at, expires_at, ended_at)
          SELECT gen_random_uuid(), ${userId}, now(), now(), now() + interval '30 days', ${endedAt}
          FROM generate_series(1, ${count})`,
      },
      [],
    );
  await insert(LIVE_SESSIONS, "gen_random_uuid()", "NULL");
  await insert(ENDED_SESSIONS, "gen_random_uuid()", "now()");
  await insert(2, `'${OWNER}'`, "NULL");
  await insert(2, `'${OWNER}'`, "now()");
  await database.query({ text: "ANALYZE auth.sessions" }, []);
});

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

test("the sessions of a user that is erased are found without a look at those of all others", async () => {
  const accounts = new Accounts(new CredentialsRepository(database), new SessionsRepository(database));
  const plans: string[] = [];
  const ended = await database.transaction((transaction) =>
    accounts.erase(OWNER, explaining(transaction, plans)),
  );

  expect(ended).toHaveLength(2);
  expect(plans.filter((plan) => plan.includes("on sessions"))).toHaveLength(2);
  expect(plans.join("\n")).not.toContain("Seq Scan on sessions");
  const left = await database.query({ text: "SELECT FROM auth.sessions WHERE user_id = $1" }, [OWNER]);
  expect(left).toEqual([]);
});

/** Notes the plan of each statement before it runs it. */
function explaining(transaction: DatabaseTransaction, plans: string[]): DatabaseTransaction {
  const query = async <Row extends pg.QueryResultRow>(
    { text }: Statement,
    values: unknown[],
  ): Promise<Row[]> => {
    const lines = await transaction.query<{ "QUERY PLAN": string }>({ text: `EXPLAIN ${text}` }, values);
    plans.push(lines.map((line) => line["QUERY PLAN"]).join("\n"));
    return transaction.query<Row>({ text }, values);
  };
  return { query } as DatabaseTransaction;
}
