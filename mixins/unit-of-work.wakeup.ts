import { setTimeout as sleep } from "node:timers/promises";
import type { Database } from "../lib/database.ts";

const NOTIFY = { name: "unit-of-work.notify", text: "SELECT pg_notify('events_outbox', '')" };

/** So long the relay is left asleep, while the node answers whoever has asked for the change. */
const DELAY_MS = 1;
/** How often it is told at most: at a high rate of changes, of many at once. */
const INTERVAL_MS = 3;

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
  const wait = (ms: number): Promise<void> => sleep(ms, undefined, { ref: false });
  const notify = async (): Promise<void> => {
    await wait(DELAY_MS);
    isWanted = false;
    await database.query(NOTIFY, []).catch(() => undefined);
  };
  const run = async (): Promise<void> => {
    await Promise.all([notify(), wait(INTERVAL_MS)]);
    isBusy = false;
    if (isWanted) wake();
  };
  const wake = (): void => {
    isWanted = true;
    if (isBusy) return;
    isBusy = true;
    void run();
  };
  return wake;
}
