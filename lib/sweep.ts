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
