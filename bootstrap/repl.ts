import type { ServiceBroker } from "moleculer";

/**
 * Opens the Moleculer REPL. At its end (`q`, Ctrl-D) it stops the broker and exits, which would leave out everything
 * else that a node has to stop; here it calls `requestStop` instead.
 */
export function openRepl(broker: ServiceBroker, requestStop: (reason: string) => void): void {
  const stop = (): Promise<never> => {
    requestStop("end of the REPL");
    // The REPL exits when this settles. The node does it, when it has stopped.
    return new Promise(() => undefined);
  };
  const seenByRepl = Object.create(broker, { stop: { value: stop } }) as ServiceBroker;
  seenByRepl.repl();
}
