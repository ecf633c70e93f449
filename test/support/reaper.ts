/**
 * The program that outlives a test run: `node reaper.ts <folder of the run>`. Its standard input is a pipe from the
 * runner. The kernel closes that pipe when the runner ends, also by `kill -9`, so no server survives any kind of end.
 */
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { describeProcess, processesOfRun, signalAll } from "./processes.ts";
import { RUN_VARIABLE } from "./test-run.ts";

/** A process that is just being forked is not listed yet, so one empty look proves nothing. */
const EMPTY_LOOKS_NEEDED = 3;
const LOOK_INTERVAL_MS = 100;
const MAX_LOOKS = 100;

const [dir] = process.argv.slice(2);
if (dir === undefined) throw new Error("usage: node reaper.ts <folder of the run>");

for await (const _ of process.stdin);

let emptyLooks = 0;
for (let look = 0; emptyLooks < EMPTY_LOOKS_NEEDED && look < MAX_LOOKS; look++) {
  const pids = processesOfRun(RUN_VARIABLE, dir);
  emptyLooks = pids.length === 0 ? emptyLooks + 1 : 0;
  signalAll(pids, "SIGKILL");
  await sleep(LOOK_INTERVAL_MS);
}
for (const pid of processesOfRun(RUN_VARIABLE, dir)) {
  console.error(`Could not be ended: ${describeProcess(pid)}`);
}
await rm(dir, { recursive: true, force: true });
