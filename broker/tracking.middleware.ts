import type { Context, Middleware, ServiceBroker } from "moleculer";

type Calling = Promise<unknown> & { ctx?: Context };
type Call = (...args: unknown[]) => Calling;

/**
 * Stops tracking a call to another node when its caller has the answer or has given up. Moleculer goes on tracking a
 * call that timed out, for ever: each would stay in memory, and a node that ever had one would stop only at its
 * shutdown timeout.
 */
export const trackingMiddleware: Middleware = {
  name: "Tracking",
  // Moleculer's type has the hook return the result of a call instead of a function.
  call: ((next: Call): Call =>
    (...args) => {
      const calling = next(...args);
      const { ctx } = calling;
      if (ctx && ctx.nodeID !== ctx.broker.nodeID) {
        const forget = () => stopTracking(ctx);
        calling.then(forget, forget);
      }
      return calling;
    }) as never,
};

function stopTracking(ctx: Context): void {
  // The calls to other nodes that the broker waits for when it stops; not in its type.
  const { _trackedContexts: tracked } = ctx.broker as ServiceBroker & { _trackedContexts: Context[] };
  const index = tracked.indexOf(ctx);
  if (index !== -1) tracked.splice(index, 1);
}
