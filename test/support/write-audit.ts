import pg from "pg";

import type { RestClient } from "./rest-client.ts";
import { failuresOf, sendWrite, type LoadRecord, type Write } from "./rest-load.ts";

/** Which writes are not in the database exactly as often as the client may expect; all empty when all is well. */
export interface WriteAudit {
  /** Acknowledged, but not there. */
  readonly lost: readonly string[];
  /** There more than once. */
  readonly doubled: readonly string[];
  /** The row is there without its event, or the event without its row. */
  readonly torn: readonly string[];
}

/** The audit of a system that has lost and doubled nothing. */
export const NOTHING_WRONG: WriteAudit = { lost: [], doubled: [], torn: [] };

interface Found {
  /** Rows of users by address. */
  readonly rows: ReadonlyMap<string, number>;
  /** Events by address (created) and nickname (updated). */
  readonly events: ReadonlyMap<string, number>;
}

/** Looks up the writes of a load in the tables of users and of events. */
export function auditWrites(databaseUrl: string, records: readonly LoadRecord[]): Promise<WriteAudit> {
  return audit(databaseUrl, acknowledgedWrites(records), writesOf(records));
}

/**
 * Sends every write that has failed and has a key again, and then looks up all of them: each has to be there once,
 * whether its first attempt was executed or not.
 *
 * @throws {Error} when one is refused now.
 */
export async function auditAfterResending(
  databaseUrl: string,
  client: RestClient,
  records: readonly LoadRecord[],
): Promise<WriteAudit> {
  const failed = writesOf(failuresOf(records)).filter(({ idempotencyKey }) => idempotencyKey !== undefined);
  const answers = await Promise.all(failed.map((write) => sendWrite(client, write)));
  const refused = answers.find(({ status }) => status >= 300);
  if (refused) throw new Error(`A write that was sent again was refused: ${refused.text}`);
  return audit(databaseUrl, [...acknowledgedWrites(records), ...failed], writesOf(records));
}

async function audit(
  databaseUrl: string,
  expected: readonly Write[],
  all: readonly Write[],
): Promise<WriteAudit> {
  const found = await readWritten(databaseUrl);
  const eventsOf = ({ mark }: Write): number => found.events.get(mark) ?? 0;
  const rowsOf = ({ mark }: Write): number => found.rows.get(mark) ?? 0;
  const marks = (writes: readonly Write[]): string[] => writes.map(({ kind, mark }) => `${kind} ${mark}`);
  return {
    lost: marks(expected.filter((write) => eventsOf(write) === 0)),
    doubled: marks(all.filter((write) => eventsOf(write) > 1 || rowsOf(write) > 1)),
    torn: marks(all.filter((write) => write.kind === "create" && eventsOf(write) !== rowsOf(write))),
  };
}

function acknowledgedWrites(records: readonly LoadRecord[]): Write[] {
  return writesOf(records.filter(({ status }) => status > 0 && status < 300));
}

function writesOf(records: readonly LoadRecord[]): Write[] {
  return records.flatMap(({ write }) => write ?? []);
}

/** Numbers of all rows that a request can write, by table. */
export async function countRows(
  databaseUrl: string,
): Promise<{ users: number; outbox: number; idempotency: number }> {
  const [counts] = await query<{ users: number; outbox: number; idempotency: number }>(
    databaseUrl,
    `SELECT (SELECT count(*)::integer FROM users.users) AS users,
            (SELECT count(*)::integer FROM events.outbox) AS outbox,
            (SELECT count(*)::integer FROM events.idempotency) AS idempotency`,
  );
  if (!counts) throw new Error("no counts");
  return counts;
}

async function readWritten(databaseUrl: string): Promise<Found> {
  const rows = await query<{ mark: string; count: number }>(
    databaseUrl,
    "SELECT email AS mark, count(*)::integer AS count FROM users.users GROUP BY 1",
  );
  const events = await query<{ mark: string; count: number }>(
    databaseUrl,
    `SELECT CASE type WHEN 'user-created_v1' THEN data->>'email' ELSE data->>'nickname' END AS mark,
            count(*)::integer AS count
     FROM events.outbox WHERE type IN ('user-created_v1', 'user-updated_v1') GROUP BY 1`,
  );
  const toMap = (counts: typeof rows) => new Map(counts.map(({ mark, count }) => [mark, count]));
  return { rows: toMap(rows), events: toMap(events) };
}

async function query<Row extends pg.QueryResultRow>(databaseUrl: string, sql: string): Promise<Row[]> {
  const client = new pg.Client(databaseUrl);
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}
