import type { Middleware, ServiceBroker } from "moleculer";

/** What a node tells of itself. */
interface Packet {
  payload: { sender: string; instanceID?: string };
}

/** What of Moleculer's transit is not in its types. */
interface Transit {
  broker: ServiceBroker;
}

type HandleMessage = (command: string, packet: Packet) => Promise<boolean>;

/**
 * Counts a node that is back under its name as away first. Moleculer takes it for the one from before, unless that was
 * missed already, and calls that were under way there would wait for their timeout: now they are rejected, and made again
 * if they may be.
 */
export const nodeRestartMiddleware: Middleware = {
  name: "NodeRestart",
  transitMessageHandler: function watch(this: Transit, next: HandleMessage): HandleMessage {
    const { nodes } = this.broker.registry;
    return (command, packet) => {
      const { sender, instanceID } = packet.payload;
      const known = command === "INFO" ? nodes.get(sender) : undefined;
      if (known && !known.local && known.instanceID !== instanceID) nodes.disconnected(sender, true);
      return next(command, packet);
    };
  } as never,
};
