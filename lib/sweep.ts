const INTERVAL_MS = 10 * 60_000;

/** Deletes what has expired, now and then. */
export function createSweep(sweep: () => Promise<unknown>): { start(): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  const schedule = () => {
    if (isStopped) return;
    // Spread, so that the nodes do not all do it at once.
    timer = setTimeout(() => void run(), INTERVAL_MS * (0.5 + Math.random()));
    timer.unref();
  };
  const run = async () => {
    // It is tried again: a database that is away is reported by its monitor.
    await sweep().catch(() => undefined);
    schedule();
  };
  return {
    start: schedule,
    stop: () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

/**
 * Does something for so many rows at a time, until there are fewer left: one statement for all of them would hold up
 * those that want to change the rows, or be ended for taking too long, and again the next time.
 *
 * @param size rows of a batch
 * @param work resolves to how many rows it has found
 */
export async function inBatches(
  size: number,
  work: (limit: number) => Promise<number>,
  until = new AbortController().signal,
): Promise<void> {
  let found: number;
  do {
    found = await work(size);
  } while (found === size && !until.aborted);
}
