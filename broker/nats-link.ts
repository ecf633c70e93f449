import type { Middleware, ServiceBroker } from "moleculer";
import { Events, type NatsConnection } from "nats";
import type { DependencyMonitor } from "../lib/dependency-monitor.ts";
import { actionMiddleware } from "./action-middleware.ts";
import { appError } from "./errors.ts";

/** What of Moleculer's transit is not in its types. */
interface Transit {
  tx: { client: NatsConnection | null };
  pendingRequests: Map<string, { reject(error: Error): void }>;
}

/** The NATS connection of a broker; null before it is connected and when the broker has no NATS. */
export function natsConnectionOf(broker: ServiceBroker): NatsConnection | null {
  return (broker.transit as unknown as Transit | null)?.tx.client ?? null;
}

/**
 * Makes calls to other nodes fail at once while NATS is away. Moleculer does not notice that its NATS connection is
 * lost: calls would wait for their timeout. Those under way are rejected too, since core NATS does not keep their
 * answers; they are retried, or answered with SERVICE_UNAVAILABLE.
 */
export function natsLinkMiddleware(monitor: DependencyMonitor): Middleware {
  let isLost = false;

  const watch = async (broker: ServiceBroker, connection: NatsConnection) => {
    for await (const { type } of connection.status()) {
      if (type === Events.Disconnect) {
        isLost = true;
        monitor.report(false, new Error("the connection was lost"));
        rejectPending(broker);
      } else if (type === Events.Reconnect && isLost) {
        // The client tells of one reconnect again for each attempt before it that a server broke off.
        isLost = false;
        monitor.report(true);
        rejoin(broker);
      }
    }
  };

  return {
    name: "NatsLink",
    async started(broker) {
      const connection = natsConnectionOf(broker);
      if (connection) void watch(broker, connection);
    },
    remoteAction: actionMiddleware((next) => (ctx) => (isLost ? Promise.reject(natsLost()) : next(ctx))),
  };
}

/**
 * Does what Moleculer does when other transporters reconnect: says who we are, asks who is there, and empties memory
 * caches, which may have missed an invalidation. A node that has not reconnected yet would not get its calls, so each
 * counts as away until it answers.
 */
function rejoin(broker: ServiceBroker): void {
  const { nodes } = broker.registry;
  for (const { id, local } of nodes.toArray()) if (!local) nodes.disconnected(id, true);
  void broker.transit?.tx.onConnected(true);
}

const natsLost = () =>
  appError("SERVICE_UNAVAILABLE", { detail: "The connection between the services is lost." });

function rejectPending(broker: ServiceBroker): void {
  const { pendingRequests } = broker.transit as unknown as Transit;
  for (const [id, request] of pendingRequests) {
    pendingRequests.delete(id);
    request.reject(natsLost());
  }
}
