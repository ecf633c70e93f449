import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { constants, getPriority, setPriority } from "node:os";
import { retry } from "./waiting.ts";

/**
 * The priority of this thread, so many nice levels below the one that it has, as the system lets nobody go up again: a
 * node may have been started with a low one itself.
 */
export function lowered(steps: number): number {
  return Math.min(getPriority() + steps, constants.priority.PRIORITY_LOW);
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

/** Where Linux keeps the priority of the session of a process. All sessions of a machine take turns to change theirs. */
const SESSION = "/proc/self/autogroup";
const RETRY_MS = 100;
const TURN_MS = 2000;

/**
 * Sets the priority of all threads of this process, and of those that they start. On Linux each thread has one of its own,
 * and counts among those of its session only where the processors are shared between sessions first (autogroup, see
 * sched(7)): the session gets the priority as well.
 *
 * @param nice levels; below that of now for root only
 */
export async function setProcessPriority(nice: number): Promise<void> {
  const isLinux = process.platform === "linux";
  const threads = isLinux ? readdirSync("/proc/self/task").map(Number) : [0];
  for (const thread of threads) setPriority(thread, nice);
  const isOver = new AbortController();
  await retry(() => writeFile(SESSION, String(nice)), {
    waitMs: RETRY_MS,
    until: AbortSignal.any([isOver.signal, AbortSignal.timeout(TURN_MS)]),
    // Where there are no such groups, nothing is to be done.
    onError: ({ code }: NodeJS.ErrnoException) => {
      if (code !== "EAGAIN") isOver.abort();
    },
  });
}
