import { readFileSync } from "node:fs";

/** Memory of a process and its children, in bytes; what they share counts once. Linux only. */
export function memoryOf(pid: number): number {
  const children = read(`/proc/${pid}/task/${pid}/children`).trim().split(" ").filter(Boolean).map(Number);
  return [pid, ...children].reduce((sum, each) => sum + proportionalBytes(each), 0);
}

/** Samples it until the returned function is called, which gives the most that was seen. */
export function watchMemory(pid: number, intervalMs = 20): () => number {
  let peakBytes = memoryOf(pid);
  const sampling = setInterval(() => {
    peakBytes = Math.max(peakBytes, memoryOf(pid));
  }, intervalMs);
  return () => {
    clearInterval(sampling);
    return peakBytes;
  };
}

function proportionalBytes(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024;
}

/** A process may end while we look. */
function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
