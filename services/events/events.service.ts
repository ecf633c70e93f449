import type { Context, Service, ServiceBroker } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { natsConnectionOf } from "../../broker/nats-link.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import { broadcast, type ActionParams, type ActionResult } from "../../lib/contracts.ts";
import { HealthMixin } from "../../mixins/health.mixin.ts";
import { deadLetterActions } from "./dead-letters.ts";
import { EventStream } from "./event-stream.ts";
import * as contract from "./events.contract.ts";
import { readEventPage } from "./event-page.ts";
import { watchRelay } from "./events.metrics.ts";
import { readStatus, replay } from "./events.repository.ts";
import { Relay } from "./relay.ts";

/*
 * Owns the schema `events`: the outbox, which units of work of every service write, and the log. Its relay moves events
 * from one to the other and publishes them: each at least once, those about one resource in order. After each step it
 * broadcasts `events-appended`.
 */

interface Variables {
  relay: Relay;
  /** Undefined on a node without NATS. */
  stream: EventStream | undefined;
}

type EventsService = Service<object> & Variables;

export function createEventsService(node: Node): AppServiceSchema<object, object, Variables> {
  const { config, database } = node;

  return {
    name: "events",
    mixins: [HealthMixin(node.monitors)],

    actions: {
      list: {
        visibility: "published",
        params: contract.listEventsParams,
        handler(ctx: Context<contract.ListEvents>): Promise<ActionResult<"events.list">> {
          return readEventPage(database, ctx.params);
        },
      },

      status: {
        visibility: "public",
        params: contract.statusParams,
        async handler(this: EventsService): Promise<ActionResult<"events.status">> {
          const [status, streamMessages = null] = await Promise.all([
            readStatus(database),
            this.stream?.countMessages(),
          ]);
          return { ...status, streamMessages };
        },
      },

      replay: {
        visibility: "public",
        params: contract.replayParams,
        handler(ctx: Context<ActionParams<"events.replay">>): Promise<ActionResult<"events.replay">> {
          return replay(database, ctx.params.from);
        },
      },

      ...deadLetterActions(node),
    },

    created() {
      this.stream = config.NATS_URL ? createStream(node, this.broker) : undefined;
      this.relay = new Relay({
        database,
        log: node.log,
        nodeId: config.NODE_ID,
        pollIntervalMs: config.EVENTS_POLL_INTERVAL_MS,
        retentionDays: config.EVENT_LOG_RETENTION_DAYS,
        stream: this.stream,
        onAppended: (sequence) => announce(this.broker, sequence),
      });
      if (node.metrics) watchRelay(node.metrics.registry, this.relay, () => readStatus(database));
    },

    async started() {
      this.relay.start();
    },

    async stopped() {
      await this.relay.stop();
    },
  };
}

function createStream({ config, monitors }: Node, broker: ServiceBroker): EventStream {
  return new EventStream({
    connection: () => natsConnectionOf(broker),
    isUp: () => monitors.get("nats")?.isUp === true,
    replicas: config.EVENTS_STREAM_REPLICAS,
    retentionDays: config.EVENT_LOG_RETENTION_DAYS,
  });
}

/** A hint only: who misses it looks by himself after a while. */
function announce(broker: ServiceBroker, sequence: number): void {
  broadcast(broker, "events-appended", { sequence }).catch((error: unknown) =>
    broker.logger.debug("events-appended was not sent", error),
  );
}
