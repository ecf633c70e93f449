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

/**
 * Milliseconds of CPU for each request, by the name of a program: of `nats`, or of the node that has the services
 * `users,auth`.
 */
export type CpuByProgram = ReadonlyMap<string, number>;

/**
 * Watches what all processes use that this one has started, with those that they start, and this one itself as `load`. Of
 * a process that ends meanwhile nothing is counted. Linux only.
 *
 * @returns what they have used since then, for each of so many requests
 */
export function watchCpu(): (requests: number) => CpuByProgram {
  const before = cpuByProcess();
  return (requests) => {
    const used = new Map<string, number>();
    for (const [pid, after] of cpuByProcess()) {
      const program = programOf(pid);
      const milliseconds = (after - (before.get(pid) ?? 0)) * 1000;
      used.set(program, (used.get(program) ?? 0) + milliseconds / requests);
    }
    return used;
  };
}

function cpuByProcess(): Map<number, number> {
  const used = new Map<number, number>();
  for (const pid of processTree(process.pid)) {
    try {
      used.set(pid, cpuSeconds(pid));
    } catch {
      // It has ended since it was listed.
    }
  }
  return used;
}

function programOf(pid: number): string {
  if (pid === process.pid) return "load";
  const services = /(?:^|\0)SERVICES=([^\0]*)/.exec(read(pid, "environ"))?.[1];
  if (services !== undefined) return services;
  const command = read(pid, "cmdline");
  const known = ["postgres", "nats", "redis", "valkey"].find((name) => command.includes(name));
  return known ?? "other";
}

/** Empty when the process has ended. */
function read(pid: number, name: "environ" | "cmdline"): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return "";
  }
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
