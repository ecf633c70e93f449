import { storageUnavailable } from "./storage/failures.ts";

/** What a system says of a disk without room, where a library passes on no code of it. */
const DISK_FULL = /No space left on device|Disk quota exceeded/;

/** Whether an error says that a disk is full, or the part of it that this process may fill. */
function isDiskFull(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT" || DISK_FULL.test(message);
}

/**
 * Does work that writes to the disk of this node.
 *
 * @throws STORAGE_UNAVAILABLE when the disk is full, and what else the work throws
 */
export async function unlessDiskFull<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw isDiskFull(error) ? storageUnavailable(error) : error;
  }
}
