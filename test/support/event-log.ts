import type { TestNodes } from "./test-nodes.ts";

/** Where a test writes: a database, past the product. */
type Sql = Pick<TestNodes, "sql">;

/** SQL expressions over `n`, the sequence number of the event. */
export interface LogColumns {
  readonly type?: string;
  readonly subject?: string;
  readonly data?: string;
}

/** Appends events to the log as the relay does: the rows and its position in one transaction. */
export async function appendToLog({ sql }: Sql, count: number, columns: LogColumns = {}): Promise<void> {
  const { type = "'user-updated_v1'", subject = "gen_random_uuid()", data = "'{}'" } = columns;
  await sql(
    `WITH head AS (
       UPDATE events.relay SET head = head + $1, published = head + $1 RETURNING head - $1 AS before
     )
     INSERT INTO events.log (sequence, id, type, subject, data, actor, request_id, changed_fields, occurred_at)
     SELECT n, gen_random_uuid(), ${type}, ${subject}, ${data}, 'anonymous', 'request-' || n, '{}', now()
     FROM head, LATERAL generate_series(before + 1, before + $1) AS series (n)`,
    [count],
  );
}

/** Deletes the events up to a sequence number, as retention does. */
export async function expireLog({ sql }: Sql, upTo: number): Promise<void> {
  await sql("DELETE FROM events.log WHERE sequence <= $1", [upTo]);
}
