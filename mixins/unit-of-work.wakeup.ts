import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { Database } from "../lib/database.ts";

const NOTIFY = { name: "unit-of-work.notify", text: "SELECT pg_notify('events_outbox', '')" };

/** So long after it was told, the relay is not told again: at a high rate of changes it is told of many at once. */
const REST_MS = 3;

/** One for each node, whose services share its database. */
const wakeups = new WeakMap<Database, () => void>();

/**
 * Tells the relay of events that were committed. A statement of its own, after the commit, and for all commits of the node
 * up to then: a transaction that notifies takes a lock of the whole server until its commit is on disk, so that
 * units of work would commit one by one. One that is lost costs time only: the relay also looks by itself.
 *
 * @returns what to call after a commit
 */
export function relayWakeupOf(database: Database): () => void {
  const wakeup = wakeups.get(database) ?? createWakeup(database);
  wakeups.set(database, wakeup);
  return wakeup;
}

function createWakeup(database: Database): () => void {
  let isBusy = false;
  let isWanted = false;
  const notify = (): Promise<unknown> => database.query(NOTIFY, []).catch(() => undefined);
  const run = async (): Promise<void> => {
    isBusy = true;
    while (isWanted) {
      // What the commit was for is answered in this turn of the event loop or the next.
      await nextTurn();
      await nextTurn();
      isWanted = false;
      await Promise.all([notify(), sleep(REST_MS, undefined, { ref: false })]);
    }
    isBusy = false;
  };
  return () => {
    isWanted = true;
    if (!isBusy) void run();
  };
}
