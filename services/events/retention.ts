import type { Logger } from "pino";
import type { Database } from "../../lib/database.ts";
import { inBatches } from "../../lib/sweep.ts";
import { repeat, Wakeup } from "../../lib/waiting.ts";
import type { Deletion } from "./retention.repository.ts";

const INTERVAL_MS = 10 * 60_000;
const BATCH = 1000;

/** Deletes now, and every 10 minutes, all that is to be deleted. A deletion that fails is tried again the next time. */
export function retain(
  deletions: readonly Deletion[],
  { database, log, until }: { database: Database; log: Logger; until: AbortSignal },
): Promise<void> {
  const onError = (error: Error): void => log.warn({ err: error }, "what is too old could not be deleted");
  const deleteAll = async (): Promise<void> => {
    for (const deletion of deletions) await exhaust(deletion, database, until).catch(onError);
  };
  return repeat(deleteAll, { wakeup: new Wakeup(), everyMs: INTERVAL_MS, until, onError });
}

/** Deletes until nothing is left. */
export function exhaust(deletion: Deletion, database: Database, until?: AbortSignal): Promise<void> {
  return inBatches(BATCH, (limit) => deletion(database, limit), until);
}
