import type { Storage } from "../../lib/storage/storage.ts";
import type { ImagesRepository } from "./images.repository.ts";
import { COMPLETION_MINUTES, type UploadsRepository } from "./uploads.repository.ts";

interface SweepParts {
  storage: Storage;
  images: ImagesRepository;
  uploads: UploadsRepository;
  /** How long the log keeps events. */
  retentionDays: number;
}

/** Keys that are removed in one request. */
const BATCH = 500;

/**
 * Deletes what is over: uploads that were not completed, bytes that arrived and were left, by a client or by a gateway
 * that has died, and what is remembered of deleted images.
 */
export async function sweepImages({ storage, images, uploads, retentionDays }: SweepParts): Promise<void> {
  await uploads.deleteExpired();
  await images.purgeDeleted(retentionDays);
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
