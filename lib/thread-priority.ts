import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { constants, getPriority, setPriority } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

/**
 * Lowers the priority of a thread below the one that it has, as the system lets nobody go up again: a node may have been
 * started with a low one itself. Linux only; elsewhere priorities are those of whole processes.
 *
 * @param steps nice levels
 * @param threadId of the system; by default that of the caller
 */
export function lowerPriority(steps: number, threadId = 0): void {
  setPriority(threadId, Math.min(getPriority(threadId) + steps, constants.priority.PRIORITY_LOW));
}

/**
 * Has the threads of this process, and those that they start, run only when others have nothing to do (SCHED_IDLE, see
 * sched(7)). Unlike one with a thread of low priority, a processor with such a thread counts as free: who wakes up is not
 * put where another runs already. Linux with `chrt` (util-linux) only; elsewhere nothing changes.
 */
export function yieldToOthers(): void {
  if (process.platform !== "linux") return;
  spawnSync("chrt", ["--all-tasks", "--idle", "--pid", "0", String(process.pid)], { stdio: "ignore" });
}

const SESSION = "/proc/self/autogroup";
const RETRY_MS = 100;
const ATTEMPTS = 20;

/**
 * Gives the session of this process the priority that its first thread has. Where Linux shares the processors between
 * sessions first (autogroup, see sched(7)), the priorities of threads count among those of the same session only.
 */
export async function applyPriorityToSession(): Promise<void> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    try {
      await writeFile(SESSION, String(getPriority()));
      return;
    } catch (error) {
      // All sessions of the machine have to take turns. Where there are no such groups, nothing is to be done.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return;
      await delay(RETRY_MS);
    }
  }
}
