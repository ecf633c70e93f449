import { setTimeout as sleep } from "node:timers/promises";

/** Settles after `ms`, or as soon as `until` is aborted. */
export async function pause(ms: number, until: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal: until }).catch(() => undefined);
}

/** Lets a loop sleep until there is work. A call that comes while it works is kept for its next wait. */
export class Wakeup {
  #isCalled = false;
  #end: () => void = () => undefined;

  call(): void {
    this.#isCalled = true;
    this.#end();
  }

  /** Settles when called, after `timeoutMs`, or as soon as `until` is aborted. One wait at a time. */
  async wait(timeoutMs: number, until: AbortSignal): Promise<void> {
    if (!this.#isCalled && !until.aborted) {
      const ended = Promise.withResolvers<void>();
      this.#end = ended.resolve;
      const timer = setTimeout(ended.resolve, timeoutMs);
      until.addEventListener("abort", this.#end);
      await ended.promise;
      clearTimeout(timer);
      until.removeEventListener("abort", this.#end);
    }
    this.#isCalled = false;
  }
}

/** What the promise gives; undefined when that takes longer than `ms`. */
export function inTime<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  return within(ms, promise, () => undefined);
}

const LATE = Symbol("late");

/** What the promise gives; when that takes longer than `ms`, what `onLate` gives or throws. */
export async function within<T, Late>(
  ms: number,
  promise: Promise<T>,
  onLate: () => Late,
): Promise<T | Late> {
  const { promise: expired, resolve } = Promise.withResolvers<typeof LATE>();
  // After the sockets were read once more: on a busy event loop the answer may have been there in time.
  const timer = setTimeout(() => setImmediate(resolve, LATE), ms);
  try {
    const first = await Promise.race([promise, expired]);
    return first === LATE ? onLate() : first;
  } finally {
    clearTimeout(timer);
  }
}

/** What the promise gives; undefined as soon as `until` is aborted. */
export async function unlessAborted<T>(promise: Promise<T>, until: AbortSignal): Promise<T | undefined> {
  const { promise: aborted, resolve } = Promise.withResolvers<undefined>();
  const onAbort = (): void => resolve(undefined);
  until.addEventListener("abort", onAbort);
  if (until.aborted) onAbort();
  try {
    return await Promise.race([aborted, promise]);
  } finally {
    until.removeEventListener("abort", onAbort);
  }
}

interface RetryOptions {
  /** Between two attempts. */
  waitMs: number;
  until: AbortSignal;
  onError: (error: Error) => void;
}

/** Attempts something until it succeeds. Settles without a result when `until` is aborted before that. */
export async function retry<T>(
  attempt: () => Promise<T>,
  { waitMs, until, onError }: RetryOptions,
): Promise<T | undefined> {
  while (!until.aborted) {
    try {
      return await attempt();
    } catch (error) {
      onError(error as Error);
      await pause(waitMs, until);
    }
  }
  return undefined;
}

/** Does something at once, and again each time that `wakeup` is called, or `everyMs`, until it is aborted. */
export async function repeat(
  work: () => Promise<void>,
  { wakeup, everyMs, until, onError }: Omit<RetryOptions, "waitMs"> & { wakeup: Wakeup; everyMs: number },
): Promise<void> {
  while (!until.aborted) {
    await work().catch(onError);
    await wakeup.wait(everyMs, until);
  }
}

/**
 * Lets an action happen at once and then at most every `ms`; of the calls in between, one is made up for. Not for what
 * has to happen when the process ends.
 */
export function atMostEvery<Args extends unknown[]>(
  ms: number,
  action: (...args: Args) => void,
): (...args: Args) => void {
  let latest: Args | undefined;
  let isResting = false;
  const act = (): void => {
    if (!latest) {
      isResting = false;
      return;
    }
    const args = latest;
    latest = undefined;
    isResting = true;
    setTimeout(act, ms).unref();
    action(...args);
  };
  return (...args) => {
    latest = args;
    if (!isResting) act();
  };
}
