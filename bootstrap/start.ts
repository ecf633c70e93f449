import { loadConfig } from "../lib/config.ts";
import { createLogger } from "../lib/logger.ts";
import { exitBecauseOf } from "./exit.ts";
import { startNode, type RunningNode } from "./running-node.ts";
import { printWelcome } from "./welcome.ts";

/*
 * `npm start`: runs one node until it gets SIGTERM or SIGINT. With `--repl` it also opens the Moleculer REPL.
 */

try {
  const config = loadConfig();
  const log = createLogger(config);
  const isReplWanted = process.argv.includes("--repl");

  const stopAtSignal = Promise.withResolvers<NodeJS.Signals>();
  process.on("SIGTERM", stopAtSignal.resolve);
  process.on("SIGINT", stopAtSignal.resolve);
  process.on("unhandledRejection", (error) => log.error({ err: error }, "unhandled rejection"));
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "uncaught exception");
    // The state of the process is unknown now; what runs it starts another one.
    process.exit(1);
  });

  const starting = startNode(config, log);
  const started = await Promise.race([starting, stopAtSignal.promise]);
  const node = typeof started === "string" ? await starting : started;
  if (isReplWanted) node.broker.repl();
  if (typeof started !== "string") printWelcome(config, node);

  const signal = await stopAtSignal.promise;
  log.info({ signal }, "node stopping");
  await stopOrDie(node);
  log.info("node stopped");
  process.exit(0);

  /** Nothing may keep a node from ending: neither a hanging connection nor a timer that someone forgot. */
  async function stopOrDie(running: RunningNode): Promise<void> {
    const timer = setTimeout(() => {
      log.fatal({ deadlineMs: config.STOP_DEADLINE_MS }, "node did not stop in time");
      process.exit(1);
    }, config.STOP_DEADLINE_MS);
    timer.unref();
    await running.stop();
  }
} catch (error) {
  exitBecauseOf(error);
}
