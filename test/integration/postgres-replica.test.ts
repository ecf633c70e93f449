import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";

import { startReplica, type TestReplica } from "../support/postgres-replica.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";

let primary: TestPostgres;
let replica: TestReplica;

beforeAll(async () => {
  primary = await startPostgres();
  await query(primary.url, "CREATE TABLE note (text text)");
  replica = await startReplica(primary);
});

afterEach(() => replica.resumeReplay());

afterAll(async () => {
  await replica.stop();
  await primary.stop();
});

describe("a streaming replica", () => {
  test("shows what was written before and after it was made", async () => {
    await query(primary.url, "INSERT INTO note VALUES ('after')");
    await replica.catchUp();

    expect(await notes(replica.url)).toContain("after");
  });

  test("does not show a row while its replay is paused, and shows it once resumed", async () => {
    await replica.pauseReplay();
    await query(primary.url, "INSERT INTO note VALUES ('during the pause')");
    expect(await notes(primary.url)).toContain("during the pause");
    expect(await notes(replica.url)).not.toContain("during the pause");

    await replica.resumeReplay();
    await replica.catchUp();
    expect(await notes(replica.url)).toContain("during the pause");
  });

  test("refuses writes", async () => {
    await expect(query(replica.url, "INSERT INTO note VALUES ('no')")).rejects.toMatchObject({
      code: "25006",
    });
  });
});

async function notes(url: string): Promise<string[]> {
  const { rows } = await query<{ text: string }>(url, "SELECT text FROM note");
  return rows.map((row) => row.text);
}

async function query<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<pg.QueryResult<Row>> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return await client.query<Row>(sql);
  } finally {
    await client.end();
  }
}
