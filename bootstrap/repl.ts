import type { REPLServer } from "node:repl";
import type { ServiceBroker } from "moleculer";
import { REPL_COMMANDS, toReplCommand } from "./repl-commands.ts";

/**
 * Opens the Moleculer REPL, with commands of ours. At its end (`q`, Ctrl-D) it stops the broker and exits, which would
 * leave out everything else that a node has to stop; here it calls `requestStop` instead.
 */
export function openRepl(broker: ServiceBroker, requestStop: (reason: string) => void): void {
  const stop = (): Promise<never> => {
    requestStop("end of the REPL");
    // The REPL exits when this settles. The node does it, when it has stopped.
    return new Promise(() => undefined);
  };
  const options = { ...broker.options, replOptions: { customCommands: REPL_COMMANDS } };
  const seenByRepl = Object.create(broker, {
    stop: { value: stop },
    options: { value: options },
  }) as ServiceBroker;
  const server = seenByRepl.repl() as unknown as REPLServer;
  const evaluate = server.eval;
  Object.assign(server, {
    eval(this: REPLServer, line: string, ...others: [never, string, () => void]) {
      evaluate.call(this, toReplCommand(line), ...others);
    },
  });
}
