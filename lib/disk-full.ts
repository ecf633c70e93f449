/** What a system says of a disk without room, where a library passes on no code of it. */
const DISK_FULL = /No space left on device|Disk quota exceeded/;

/** Whether an error says that a disk is full, or the part of it that this process may fill. */
export function isDiskFull(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT" || DISK_FULL.test(message);
}
