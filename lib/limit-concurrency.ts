/** Lets at most `max` calls run at the same time; the others wait for their turn. */
export function limitConcurrency<Args extends unknown[], Result>(
  work: (...args: Args) => Promise<Result>,
  max: number,
): (...args: Args) => Promise<Result> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (...args) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work(...args);
    } finally {
      // The turn is handed on, so that nobody comes in between.
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}
