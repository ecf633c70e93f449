import { setTimeout as sleep } from "node:timers/promises";

/**
 * Calls `send` so many times, each at its time and not when others are answered: a slow answer does not hide those behind
 * it.
 *
 * @param send gets the moment at which it was due, of `performance.now()`
 */
export async function atSteadyRate<T>(
  { perSecond, count }: { perSecond: number; count: number },
  send: (dueAt: number) => Promise<T>,
): Promise<T[]> {
  const startedAt = performance.now();
  const pending: Promise<T>[] = [];
  for (let sent = 0; sent < count; sent += 1) {
    const dueAt = startedAt + (sent * 1000) / perSecond;
    const early = dueAt - performance.now();
    if (early > 0) await sleep(early);
    pending.push(send(dueAt));
  }
  return Promise.all(pending);
}
