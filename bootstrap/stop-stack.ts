import type { Logger } from "pino";

/** What has been started so far, each with the way to stop it; stopped in the opposite order. */
export class StopStack {
  isStopping = false;
  #stops: (() => Promise<void>)[] = [];

  push(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  async stop(log: Logger): Promise<void> {
    this.isStopping = true;
    for (const stop of this.#stops.splice(0).toReversed()) {
      // One part that cannot stop must not keep the others running.
      await stop().catch((error: unknown) => log.error({ err: error }, "a part of the node did not stop"));
    }
  }
}
