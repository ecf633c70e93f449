import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";

import { loadConfig } from "../../lib/config.ts";
import type { Statement } from "../../lib/database-connection.ts";
import { Database } from "../../lib/database.ts";
import { UsersRepository } from "../../services/users/users.repository.ts";
import type { UserFilter } from "../../services/users/users.domain.ts";
import { userModel } from "../../services/users/users.model.ts";
import { createTestDatabase, type TestDatabase } from "../support/databases.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { insertUsers } from "../support/stored-rows.ts";

/** Enough that reading the whole table is not the best plan. */
const USERS = 50_000;

/** A node of a plan, of all that PostgreSQL says of it. */
interface PlanNode {
  readonly "Node Type": string;
  readonly "Index Name"?: string;
  readonly Plans?: readonly PlanNode[];
}

/** Explains every read, and then does it. */
class ExplainingDatabase extends Database {
  nodes: PlanNode[] = [];

  override async read<Row extends pg.QueryResultRow>(
    options: { fresh: boolean },
    statement: Statement,
    values: unknown[],
  ): Promise<Row[]> {
    const explain = { text: `EXPLAIN (FORMAT JSON) ${statement.text}` };
    const [row] = await this.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(explain, values);
    this.nodes = row ? flatten(row["QUERY PLAN"][0].Plan) : [];
    return super.read(options, statement, values);
  }
}

let testDatabase: TestDatabase;
let database: ExplainingDatabase;
let repository: UsersRepository;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  await fill(testDatabase.url);
  const config = {
    ...loadConfig({ SERVICES: "none", DATABASE_ACQUIRE_TIMEOUT_MS: "20000" }),
    DATABASE_URL: testDatabase.url,
  };
  database = new ExplainingDatabase(config, silentLogger);
  const { name, define, options } = userModel;
  repository = new UsersRepository(database, database.primary.define(name, define, options));
});

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

describe("the first and a later page of a list", () => {
  test.each([
    ["createdAt", ["2001-01-01T01:00:00Z"], "users_by_created_at"],
    ["-createdAt", ["2001-01-01T01:00:00Z"], "users_by_created_at"],
    ["lastName", ["8"], "users_by_last_name"],
    ["-lastName", ["8"], "users_by_last_name"],
  ] as const)("sorted by %s are ranges of an index, without sorting", async (sort, position, index) => {
    const after = [...position, "00000000-0000-0000-0000-000000000000"];
    const query = { filter: {}, sort, limit: 20 };

    expect(await repository.list({ ...query, after: undefined }, { fresh: false })).toHaveLength(20);
    expect(plan()).toEqual({ scans: [`Index Scan ${index}`], sorts: 0 });
    expect(await repository.list({ ...query, after }, { fresh: false })).toHaveLength(20);
    expect(plan()).toEqual({ scans: [`Index Scan ${index}`], sorts: 0 });
  });
});

describe("a list with a filter", () => {
  test.each<[string, UserFilter, string]>([
    ["country", { country: "AC" }, "users_by_country"],
    ["status", { status: "suspended" }, "users_suspended"],
    ["status", { status: "deleted" }, "users_deleted"],
    ["createdAfter", { createdAfter: new Date("2001-01-01T12:00:00Z") }, "users_by_created_at"],
    ["createdBefore", { createdBefore: new Date("2001-01-01T12:00:00Z") }, "users_by_created_at"],
  ])("by %s is a range of an index, without sorting: %j", async (_, filter, index) => {
    const query = { filter, sort: "-createdAt", after: undefined, limit: 20 } as const;

    expect(await repository.list(query, { fresh: false })).toHaveLength(20);

    expect(plan()).toEqual({ scans: [`Index Scan ${index}`], sorts: 0 });
  });

  test("by email looks it up in an index", async () => {
    const query = {
      filter: { email: "7@example.com" },
      sort: "-createdAt",
      after: undefined,
      limit: 20,
    } as const;

    expect(await repository.list(query, { fresh: false })).toMatchObject([{ email: "7@example.com" }]);

    expect(plan().scans).toEqual([expect.stringMatching(/^Index Scan users_email_(?:unique|prefix)$/)]);
  });

  test("by a rare beginning of names and addresses looks in the index of each", async () => {
    const query = { filter: { q: "1234" }, sort: "-createdAt", after: undefined, limit: 20 } as const;

    const found = await repository.list(query, { fresh: false });

    expect(found.map(({ email }) => email)).toContain("1234@example.com");
    expect(plan().scans.toSorted()).toEqual([
      "Bitmap Heap Scan",
      "Bitmap Index Scan users_email_prefix",
      "Bitmap Index Scan users_first_name_prefix",
      "Bitmap Index Scan users_last_name_prefix",
    ]);
  });

  test("by a common beginning reads no more of the list than the page needs", async () => {
    const query = { filter: { q: "a" }, sort: "-createdAt", after: undefined, limit: 20 } as const;

    expect(await repository.list(query, { fresh: false })).toHaveLength(20);

    expect(plan()).toEqual({ scans: ["Index Scan users_by_created_at"], sorts: 0 });
  });
});

/** How the last list was read. */
function plan(): { scans: string[]; sorts: number } {
  const scans = database.nodes.filter((node) => node["Node Type"].includes("Scan"));
  return {
    scans: scans.map((node) => [node["Node Type"], node["Index Name"]].filter(Boolean).join(" ")),
    sorts: database.nodes.filter((node) => node["Node Type"].includes("Sort")).length,
  };
}

function flatten(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}

/** Names are spread, a country has half a percent of the users, one in a hundred is suspended, another one deleted. */
async function fill(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  const sql = async <Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> =>
    (await client.query<Row>(text, values)).rows;
  await insertUsers({ sql }, USERS, {
    email: "n || '@example.com'",
    first_name: "md5(n || 'first')",
    last_name: "md5(n || 'last')",
    country: "chr(65 + n % 8) || chr(65 + n % 26)",
    status: "CASE n % 100 WHEN 1 THEN 'suspended' ELSE 'active' END",
    created_at: "'2001-01-01T00:00:00Z'::timestamptz + n * interval '1 s'",
    deleted_at: "CASE n % 100 WHEN 2 THEN now() END",
  });
  await client.query("ANALYZE users.users");
  await client.end();
}
