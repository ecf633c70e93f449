import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";

import type { Logger } from "pino";

import { endPostmaster } from "./postmaster.ts";

/**
 * Ends the server that an earlier process left running on this data folder because it was killed. The caller holds
 * the lock of the folder, so no live process can own that server.
 *
 * @param cluster absolute path of the data folder, without symbolic links
 */
export async function endStaleServer(cluster: string, log: Logger): Promise<void> {
  const pidFile = join(cluster, "postmaster.pid");
  const pid = readPid(pidFile);
  if (pid === undefined) return;

  if (isServerOf(pid, cluster)) {
    log.warn({ pid }, "Ending the PostgreSQL that a killed Rollcall left running");
    await endPostmaster(pid, () => isServerOf(pid, cluster), log);
  } else {
    // PostgreSQL would take any process with this id for its server and refuse to start. In a container, where each
    // start counts from 1 again, there usually is one.
    rmSync(pidFile, { force: true });
  }
}

function readPid(file: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(file, "utf8"), 10);
    return pid > 0 ? pid : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether this process is a PostgreSQL that works in this folder. A zombie is not. */
function isServerOf(pid: number, cluster: string): boolean {
  try {
    if (process.platform === "linux") {
      // The folder it works in, rather than its command line: that stays right when the folder is renamed.
      return (
        readlinkSync(`/proc/${pid}/cwd`) === cluster &&
        readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "postgres"
      );
    }
    return execFileSync("ps", ["-ww", "-o", "command=", "-p", String(pid)], { encoding: "utf8" }).includes(
      cluster,
    );
  } catch {
    return false;
  }
}
