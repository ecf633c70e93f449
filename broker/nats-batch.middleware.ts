import type { Middleware } from "moleculer";
import { ErrorCode } from "nats";
import { appError } from "./errors.ts";

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
      return new Promise((resolve, reject) => {
        waiting.push(() => void publish(next, topic, data, meta).then(resolve, reject));
      });
    };
  }) as never,
};

/** @throws PAYLOAD_TOO_LARGE for a packet that the NATS server would not take: 1 MiB unless it is set up otherwise */
async function publish(next: Send, ...packet: Parameters<Send>): Promise<void> {
  try {
    await next(...packet);
  } catch (error) {
    if ((error as { code?: unknown }).code !== ErrorCode.MaxPayloadExceeded) throw error;
    const detail = "The request is larger than what one node can send to another.";
    throw appError("PAYLOAD_TOO_LARGE", { detail }, error);
  }
}
