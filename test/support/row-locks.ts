import pg from "pg";

import { waitFor } from "./wait-for.ts";

/** A session of a test that keeps rows of users locked, so that requests which change them wait. */
export interface RowLock {
  /** Waits until this many statements of others wait for a lock. */
  untilBlocked(statements: number): Promise<void>;
  /** The sessions whose statements wait for a lock, each by its process id. */
  blocked(): Promise<number[]>;
}

const BLOCKED = `SELECT pid FROM pg_stat_activity
  WHERE datname = current_database() AND wait_event_type = 'Lock' ORDER BY pid`;

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
    const blocked = async (): Promise<number[]> =>
      (await observer.query<{ pid: number }>(BLOCKED)).rows.map(({ pid }) => pid);
    return await work({
      blocked,
      untilBlocked: async (statements) => {
        await waitFor(async () => (await blocked()).length === statements, {
          description: `${statements} statements to wait for a lock`,
        });
      },
    });
  } finally {
    // Ends the transaction too.
    await Promise.all([holder.end(), observer.end()]);
  }
}
