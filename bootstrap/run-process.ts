import { once } from "node:events";
import type { Logger } from "pino";
import type { Config } from "../lib/config.ts";
import { createLogger } from "../lib/logger.ts";
import { exitBecauseOf } from "./exit.ts";
import { readConfig } from "./read-config.ts";
import { openRepl } from "./repl.ts";
import { startNode, type ServiceFactory } from "./running-node.ts";
import { releaseStartupMemory } from "./startup-memory.ts";
import { printWelcome } from "./welcome.ts";

/**
 * Runs a node until it gets SIGTERM or SIGINT, then ends the process. With `--repl` it also opens the Moleculer REPL.
 *
 * @param siblings services that are not Rollcall's own; with them, and without SERVICES, the node runs only these
 */
export async function runProcess(siblings: readonly ServiceFactory[] = []): Promise<void> {
  try {
    const config = readConfig(siblings.length > 0 ? { SERVICES: "none" } : {});
    const log = createLogger(config);
    await runUntilStopped(config, log, siblings);
    log.info("node stopped");
    process.exit(0);
  } catch (error) {
    exitBecauseOf(error);
  }
}

async function runUntilStopped(
  config: Config,
  log: Logger,
  siblings: readonly ServiceFactory[],
): Promise<void> {
  const isReplWanted = process.argv.includes("--repl");
  const stopRequest = new AbortController();
  const requestStop = (signal: string): void => {
    if (stopRequest.signal.aborted) return;
    log.info({ signal }, "node stopping");
    // Nothing may keep a node from ending: neither a hanging connection nor a timer that someone forgot.
    const timer = setTimeout(() => {
      log.fatal({ deadlineMs: config.STOP_DEADLINE_MS }, "node did not stop in time");
      process.exit(1);
    }, config.STOP_DEADLINE_MS);
    timer.unref();
    stopRequest.abort();
  };
  process.on("SIGTERM", requestStop);
  process.on("SIGINT", requestStop);
  process.on("unhandledRejection", (error) => log.error({ err: error }, "unhandled rejection"));
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "uncaught exception");
    // The state of the process is unknown now; what runs it starts another one.
    process.exit(1);
  });

  try {
    const node = await startNode(config, log, { interrupt: stopRequest.signal, siblings });
    printWelcome(config, node, isReplWanted ? "Type q to stop." : "Press Ctrl-C to stop.");
    if (isReplWanted) openRepl(node.broker, requestStop);
    releaseStartupMemory();
    if (!stopRequest.signal.aborted) await once(stopRequest.signal, "abort");
    await node.stop();
  } catch (error) {
    // A start that was interrupted has failed for no other reason.
    if (!stopRequest.signal.aborted) throw error;
  }
}
