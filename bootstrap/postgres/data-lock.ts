import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { StartupError } from "../../lib/startup-error.ts";

/** The result code of SQLite for "another process holds the lock". */
const SQLITE_BUSY = 5;

/**
 * Makes this process the only one on a data folder, until `release()` or its end.
 *
 * The lock is a write lock on an empty SQLite database, because Node offers no other lock of the kernel. A file that
 * holds a process id would have to be judged stale, which goes wrong when ids are reused (in a container they always
 * are) or when two processes judge at the same moment; the kernel drops this lock however its holder ends.
 *
 * @throws {StartupError} when another live process has it, with that process's id.
 */
export function lockDataDir(dataDir: string): { release(): void } {
  const pidFile = join(dataDir, "rollcall.pid");
  const database = new DatabaseSync(join(dataDir, "rollcall.lock"));
  try {
    database.exec("BEGIN IMMEDIATE");
  } catch (cause) {
    database.close();
    if ((cause as { errcode?: number }).errcode !== SQLITE_BUSY) throw cause;
    throw new StartupError(
      `DATA_DIR "${dataDir}" is in use by another Rollcall process (${readPid(pidFile)}). ` +
        "Stop that one first, or set DATA_DIR to another folder.",
      { cause },
    );
  }
  // Removed first: the old one may belong to another user.
  rmSync(pidFile, { force: true });
  writeFileSync(pidFile, `${process.pid}\n`);
  return {
    release() {
      rmSync(pidFile, { force: true });
      database.close();
    },
  };
}

/** For the message only: the holder writes it just after it has the lock. */
function readPid(file: string): string {
  try {
    return `pid ${readFileSync(file, "utf8").trim()}`;
  } catch {
    return "pid unknown";
  }
}
