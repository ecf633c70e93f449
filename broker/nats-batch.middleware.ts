import type { Middleware } from "moleculer";

type Send = (topic: string, data: Buffer, meta: unknown) => Promise<void>;

/**
 * Sends what one turn of the event loop produces in one write to the NATS socket. Without it each packet is a write of
 * its own, because requests arrive in a callback each; under load those writes were the largest cost of a request. A
 * packet waits for no timer: it leaves before the loop waits for input again.
 */
export const natsBatchMiddleware: Middleware = {
  name: "NatsBatch",
  transporterSend: ((next: Send): Send => {
    let waiting: (() => void)[] = [];
    const flush = () => {
      const batch = waiting;
      waiting = [];
      // The NATS client itself joins what is published within one microtask.
      for (const send of batch) send();
    };
    return (topic, data, meta) => {
      if (waiting.length === 0) setImmediate(flush);
      // Async, as what is too large for NATS is refused with an exception, which the others of a batch must survive.
      const send = async (): Promise<void> => next(topic, data, meta);
      return new Promise((resolve, reject) => {
        waiting.push(() => void send().then(resolve, reject));
      });
    };
  }) as never,
};
