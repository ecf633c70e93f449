import { setTimeout as sleep } from "node:timers/promises";

/** Settles after `ms`, or as soon as `until` is aborted. */
export async function pause(ms: number, until: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal: until }).catch(() => undefined);
}

/** Lets a loop sleep until there is work. A call that comes while it works is kept for its next wait. */
export class Wakeup {
  #isCalled = false;
  #current = new AbortController();

  call(): void {
    this.#isCalled = true;
    this.#current.abort();
  }

  /** Settles when called, after `timeoutMs`, or as soon as `until` is aborted. */
  async wait(timeoutMs: number, until: AbortSignal): Promise<void> {
    if (!this.#isCalled) {
      this.#current = new AbortController();
      await pause(timeoutMs, AbortSignal.any([until, this.#current.signal]));
    }
    this.#isCalled = false;
  }
}
