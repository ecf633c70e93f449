import { setTimeout as sleep } from "node:timers/promises";

export interface WaitForOptions {
  /** What is waited for, for the error: "the replica to see the row". */
  readonly description: string;
  /** Shorter or longer than usual only where the time itself is what is promised, or known to be long. */
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
}

/**
 * Polls `condition` until it gives something truthy, and returns that. A condition that throws counts as not yet.
 *
 * @throws {Error} after `timeoutMs` (30,000, as a machine may be slow), naming the description, with the last error of the condition as cause.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { description, timeoutMs = 30_000, intervalMs = 20 }: WaitForOptions,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let cause: unknown;
    try {
      const result = await condition();
      if (result) return result;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) {
      throw new Error(`Waited ${timeoutMs} ms in vain for ${description}`, { cause });
    }
    await sleep(intervalMs);
  }
}
