import type { Config } from "../../lib/config.ts";
import type { Storage } from "../../lib/storage/storage.ts";
import { inBatches } from "../../lib/sweep.ts";
import type { ImagesRepository } from "./images.repository.ts";
import { COMPLETION_MINUTES, type UploadsRepository } from "./uploads.repository.ts";

interface SweepParts {
  storage: Storage;
  images: ImagesRepository;
  uploads: UploadsRepository;
  config: Pick<Config, "EVENT_LOG_RETENTION_DAYS" | "DEAD_LETTER_RETENTION_DAYS">;
}

/** Rows that one statement deletes, and keys that are removed in one request. */
const BATCH = 500;

/**
 * Deletes what is over: uploads that were not completed, bytes that arrived and were left, by a client or by a gateway
 * that has died, and what is remembered of deleted images.
 */
export async function sweepImages({ storage, images, uploads, config }: SweepParts): Promise<void> {
  await inBatches(BATCH, (limit) => uploads.deleteExpired(limit));
  // An event of the log may become a dead letter until it is too old for the log.
  const rememberedDays = config.EVENT_LOG_RETENTION_DAYS + config.DEAD_LETTER_RETENTION_DAYS;
  await inBatches(BATCH, (limit) => images.purgeDeleted(rememberedDays, limit));
  const leftBefore = Date.now() - COMPLETION_MINUTES * 60_000;
  let keys: string[] = [];
  for await (const { key, modifiedAt } of storage.list("uploads/")) {
    if (modifiedAt.getTime() < leftBefore) keys.push(key);
    if (keys.length < BATCH) continue;
    await storage.remove(keys);
    keys = [];
  }
  if (keys.length > 0) await storage.remove(keys);
}
