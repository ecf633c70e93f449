import pg from "pg";

import { waitFor } from "./wait-for.ts";

/** A session of a test that keeps rows of users locked, so that requests which change them wait. */
export interface RowLock {
  /** Waits until this many statements of others wait for a lock. */
  untilBlocked(statements: number): Promise<void>;
}

const BLOCKED = `SELECT FROM pg_stat_activity
  WHERE datname = current_database() AND wait_event_type = 'Lock'`;

/** Runs `work` while the rows of these users are locked. */
export async function whileLocked<T>(
  databaseUrl: string,
  ids: readonly string[],
  work: (lock: RowLock) => Promise<T>,
): Promise<T> {
  const holder = new pg.Client(databaseUrl);
  // Within its transaction a session sees the activity of others as it was at the first look.
  const observer = new pg.Client(databaseUrl);
  await Promise.all([holder.connect(), observer.connect()]);
  try {
    await holder.query("BEGIN");
    await holder.query("SELECT FROM users.users WHERE id = ANY($1) FOR UPDATE", [ids]);
    return await work({
      untilBlocked: async (statements) => {
        await waitFor(async () => (await observer.query(BLOCKED)).rowCount === statements, {
          description: `${statements} statements to wait for a lock`,
        });
      },
    });
  } finally {
    // Ends the transaction too.
    await Promise.all([holder.end(), observer.end()]);
  }
}
