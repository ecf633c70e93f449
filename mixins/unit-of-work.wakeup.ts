import type { Database } from "../lib/database.ts";

const NOTIFY = { name: "unit-of-work.notify", text: "SELECT pg_notify('events_outbox', '')" };

/** So long the relay is left asleep, while the node answers whoever has asked for the change. */
const DELAY_MS = 1;

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
  let isSending = false;
  let isWanted = false;
  const send = async (): Promise<void> => {
    isWanted = false;
    await database.query(NOTIFY, []).catch(() => undefined);
    isSending = false;
    if (isWanted) wake();
  };
  const wake = (): void => {
    isWanted = true;
    if (isSending) return;
    isSending = true;
    setTimeout(() => void send(), DELAY_MS).unref();
  };
  return wake;
}
