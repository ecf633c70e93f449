import { launchRollcall, type Rollcall, type RollcallOptions } from "./rollcall-process.ts";

/** A process of Rollcall that is started again whenever it ends, as an orchestrator does. */
export interface Supervised {
  /** SIGKILL; it is started again at once. */
  kill(): Promise<void>;
  /** SIGTERM, for good. */
  stop(): Promise<void>;
}

export function supervise(options: RollcallOptions): Supervised {
  let isStopping = false;
  let current: Rollcall = launchRollcall(options);
  /** Settles when the process that runs now has ended and the next one is started. */
  let restarted = restart();

  async function restart(): Promise<void> {
    await current.ended;
    if (isStopping) return;
    current = launchRollcall(options);
    restarted = restart();
  }

  return {
    kill: async () => {
      const next = restarted;
      await current.kill();
      await next;
    },
    stop: async () => {
      isStopping = true;
      await current.stop();
    },
  };
}
