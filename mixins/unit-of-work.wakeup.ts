import type { Database } from "../lib/database.ts";

const NOTIFY = { name: "unit-of-work.notify", text: "SELECT pg_notify('events_outbox', '')" };

/**
 * Tells the relay of events that were committed. A statement of its own, after the commit, and for all commits during
 * the one before: a transaction that notifies takes a lock of the whole server until its commit is on disk, so that
 * units of work would commit one by one. One that is lost costs time only: the relay also looks by itself.
 *
 * @returns what to call after a commit
 */
export function createRelayWakeup(database: Database): () => void {
  let isSending = false;
  let isWanted = false;
  const send = async (): Promise<void> => {
    isSending = true;
    while (isWanted) {
      isWanted = false;
      await database.query(NOTIFY, []).catch(() => undefined);
    }
    isSending = false;
  };
  return () => {
    isWanted = true;
    if (!isSending) void send();
  };
}
