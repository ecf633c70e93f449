import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";

import { loadConfig } from "../../lib/config.ts";
import type { Statement } from "../../lib/database-connection.ts";
import { Database } from "../../lib/database.ts";
import { readEventPage } from "../../services/events/event-page.ts";
import type { ListEvents } from "../../services/events/events.contract.ts";
import { createTestDatabase, type TestDatabase } from "../support/databases.ts";
import { appendToLog } from "../support/event-log.ts";
import { silentLogger } from "../support/silent-logger.ts";

/** Enough that reading all of it would show. */
const EVENTS = 50_000;

const SUBJECT = "01890a5d-9c2e-7f41-8d3a-5b1c2d3e4f50";

/** A node of a plan, of all that PostgreSQL says of it. */
interface PlanNode {
  readonly "Relation Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly Plans?: readonly PlanNode[];
}

/** Explains every statement, and then runs it. */
class ExplainingDatabase extends Database {
  /** Rows of the log that the last statement has looked at. */
  rowsRead = 0;

  override async query<Row extends pg.QueryResultRow>(
    statement: Statement,
    values: unknown[],
  ): Promise<Row[]> {
    const text = `EXPLAIN (ANALYZE, FORMAT JSON) ${statement.text}`;
    const [row] = await super.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>({ text }, values);
    this.rowsRead = row ? rowsOfLog(row["QUERY PLAN"][0].Plan) : NaN;
    return super.query(statement, values);
  }
}

function rowsOfLog(node: PlanNode): number {
  const below = (node.Plans ?? []).reduce((sum, plan) => sum + rowsOfLog(plan), 0);
  if (node["Relation Name"] !== "log") return below;
  return below + (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"];
}

let testDatabase: TestDatabase;
let database: ExplainingDatabase;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const client = new pg.Client(testDatabase.url);
  await client.connect();
  const sql = async <Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> =>
    (await client.query<Row>(text, values)).rows;
  await appendToLog({ sql }, EVENTS, {
    type: "CASE WHEN n % 20000 = 0 THEN 'user-erased_v1' ELSE 'user-updated_v1' END",
    subject: `CASE WHEN n % 1000 = 0 THEN '${SUBJECT}'::uuid ELSE gen_random_uuid() END`,
  });
  await sql("ANALYZE events.log");
  await client.end();
  const config = {
    ...loadConfig({ SERVICES: "none", DATABASE_ACQUIRE_TIMEOUT_MS: "20000" }),
    DATABASE_URL: testDatabase.url,
  };
  database = new ExplainingDatabase(config, silentLogger);
});

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

describe("a page of the log is read without looking at much else", () => {
  test.each<[string, number, number, Partial<ListEvents>]>([
    ["at the beginning", 100, 101, {}],
    ["in the middle", 100, 101, { after: EVENTS / 2 }],
    ["at the end", 0, 1, { after: EVENTS }],
    ["of a rare type", 2, 3, { types: ["user-erased_v1"] }],
    ["of a type that never came", 0, 1, { types: ["user-created_v1", "user-deleted_v1"] }],
    ["of a rare and a common type", 100, 103, { types: ["user-erased_v1", "user-updated_v1"] }],
    ["about one subject", 50, 51, { subject: SUBJECT }],
    ["about one subject, of one type", 2, 51, { subject: SUBJECT, types: ["user-erased_v1"] }],
  ])("%s", async (_where, found, rowsRead, query) => {
    const { data } = await readEventPage(database, { after: 0, limit: 100, ...query });
    expect(data).toHaveLength(found);
    // One of them is the look for the first event that is kept.
    expect(database.rowsRead).toBeLessThanOrEqual(rowsRead);
  });
});
