import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, realpathSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Marks every process of a test run; its value is the folder of the run. Children inherit it, so whatever a test
 * starts, at any depth, can be found and ended by it.
 */
export const RUN_VARIABLE = "ROLLCALL_TEST_RUN";

let reaper: ChildProcess | undefined;

/**
 * The folder of this run, for the data of its servers. The first call of a run makes it and starts the reaper: a
 * process that waits for this one to end, in whatever way, then kills what carries the mark and deletes the folder.
 */
export function testRunDir(): string {
  const existing = process.env[RUN_VARIABLE];
  if (existing !== undefined) return existing;

  const dir = mkdtempSync(join(realpathSync(tmpdir()), "rollcall-test-"));
  // Tests that run programs as another user give that user a folder in it.
  chmodSync(dir, 0o711);
  // Started without the mark, lest it end itself, and in a session of its own, out of reach of Ctrl-C.
  reaper = spawn(process.execPath, [join(import.meta.dirname, "reaper.ts"), dir], {
    detached: true,
    stdio: ["pipe", "ignore", "inherit"],
  });
  reaper.unref();
  (reaper.stdin as Socket).unref();
  process.env[RUN_VARIABLE] = dir;
  return dir;
}

/** Ends the run that this process opened and waits until nothing of it is left. Does nothing in any other process. */
export async function closeTestRun(): Promise<void> {
  if (!reaper) return;
  const ended = once(reaper, "exit");
  reaper.ref();
  reaper.stdin?.end();
  await ended;
  reaper = undefined;
  delete process.env[RUN_VARIABLE];
}

/** A new empty folder that goes with the run. */
export function temporaryDir(prefix: string): string {
  return mkdtempSync(join(testRunDir(), `${prefix}-`));
}
