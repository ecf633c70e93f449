import type { Database } from "../lib/database.ts";
import { deleteExpiredResults } from "./unit-of-work.store.ts";

const PURGE_INTERVAL_MS = 10 * 60_000;

/** Deletes expired idempotency records now and then, in steps that hold no lock for long. */
export function createPurge(database: Database): { start(): Promise<void>; stop(): Promise<void> } {
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  const schedule = () => {
    if (isStopped) return;
    // Spread, so that the nodes do not all do it at once.
    timer = setTimeout(() => void run(), PURGE_INTERVAL_MS * (0.5 + Math.random()));
    timer.unref();
  };
  const run = async () => {
    // It is tried again: a database that is away is reported by its monitor.
    await deleteExpiredResults(database).catch(() => undefined);
    schedule();
  };
  return {
    start: async () => schedule(),
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
