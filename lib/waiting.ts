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
  return new Promise((resolve, reject) => {
    // After the sockets were read once more: on a busy event loop the answer may have been there in time.
    const timer = setTimeout(() => setImmediate(resolve, undefined), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
