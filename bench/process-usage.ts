import { readFileSync } from "node:fs";
import { setInterval } from "node:timers";

import { processTree } from "../test/support/processes.ts";

/** What a group of processes used over some time. */
export interface Usage {
  /** Of the sum of their resident memory. */
  peakBytes: number;
  cpuSeconds: number;
}

const SAMPLE_INTERVAL_MS = 100;
/** Linux fixes the unit of CPU times that /proc shows: USER_HZ. */
const TICKS_PER_SECOND = 100;

/** Watches the processes from now on, until the returned function is called. Linux only. */
export function watchUsage(pids: readonly number[]): () => Usage {
  const cpuBefore = sum(pids, cpuSeconds);
  let peakBytes = 0;
  const sample = (): void => {
    peakBytes = Math.max(peakBytes, sum(pids, residentBytes));
  };
  const timer = setInterval(sample, SAMPLE_INTERVAL_MS);
  return () => {
    clearInterval(timer);
    sample();
    return { peakBytes, cpuSeconds: sum(pids, cpuSeconds) - cpuBefore };
  };
}

/** CPU time of all processes that this one has started and that still run, with those that they started. Linux only. */
export function cpuSecondsOfChildren(): Map<number, number> {
  const used = new Map<number, number>();
  for (const pid of processTree(process.pid).filter((each) => each !== process.pid)) {
    try {
      used.set(pid, cpuSeconds(pid));
    } catch {
      // It has ended since it was listed.
    }
  }
  return used;
}

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // Fields are counted from behind the name, which may contain spaces: user time is the 12th, system time the 13th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function sum(pids: readonly number[], measure: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + measure(pid), 0);
}
