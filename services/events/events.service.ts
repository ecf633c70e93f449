import { Readable } from "node:stream";
import type { Context, Service, ServiceBroker } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import { natsConnectionOf } from "../../broker/nats-link.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import type { Config } from "../../lib/config.ts";
import { broadcast, type ActionParams, type ActionResult } from "../../lib/contracts.ts";
import { atMostEvery } from "../../lib/waiting.ts";
import { HealthMixin } from "../../mixins/health.mixin.ts";
import { deadLetterActions } from "./dead-letters.ts";
import { EventStream } from "./event-stream.ts";
import * as contract from "./events.contract.ts";
import { readEventPage } from "./event-page.ts";
import { watchRelay } from "./events.metrics.ts";
import { readStatus, replay } from "./events.repository.ts";
import { Relay } from "./relay.ts";
import {
  expiredResults,
  handledEvents,
  oldDeadLetters,
  oldEvents,
  oldMarks,
  type Deletion,
} from "./retention.repository.ts";

/*
 * Owns the schema `events`: the outbox, which units of work of every service write, and the log. Its relay moves events
 * from one to the other and publishes them: each at least once, those about one resource in order. After each step it
 * broadcasts `events-appended`. Also deletes what is too old in the schema.
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

      listInPieces: {
        visibility: "public",
        params: contract.listEventsParams,
        async handler(ctx: Context<contract.ListEvents>): Promise<ActionResult<"events.listInPieces">> {
          return inPieces(JSON.stringify(await readEventPage(database, ctx.params)));
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
        deletions: deletionsOf(config),
        stream: this.stream,
        onAppended: atMostEvery(config.NATS_URL ? ANNOUNCE_INTERVAL_MS : 0, (sequence: number) =>
          announce(this.broker, sequence),
        ),
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

/** Small enough for any message, also when every character has to be escaped in it. */
const PIECE_CHARACTERS = 16_384;

function inPieces(text: string): Readable {
  const count = Math.ceil(text.length / PIECE_CHARACTERS);
  const pieceAt = (_: unknown, index: number): string =>
    text.slice(index * PIECE_CHARACTERS, (index + 1) * PIECE_CHARACTERS);
  return Readable.from(Array.from({ length: count }, pieceAt));
}

function deletionsOf({ EVENT_LOG_RETENTION_DAYS, DEAD_LETTER_RETENTION_DAYS, NATS_URL }: Config): Deletion[] {
  return [
    oldEvents({ days: EVENT_LOG_RETENTION_DAYS, isPublished: NATS_URL !== undefined }),
    // After the events, as they go by what is left of them.
    oldMarks,
    handledEvents,
    oldDeadLetters(DEAD_LETTER_RETENTION_DAYS),
    expiredResults,
  ];
}

function createStream({ config, monitors }: Node, broker: ServiceBroker): EventStream {
  return new EventStream({
    connection: () => natsConnectionOf(broker),
    isUp: () => monitors.get("nats")?.isUp === true,
    replicas: config.EVENTS_STREAM_REPLICAS,
    retentionDays: config.EVENT_LOG_RETENTION_DAYS,
  });
}

/** At a high rate of events, a message for each to every node would cost more than it is worth. */
const ANNOUNCE_INTERVAL_MS = 50;

/** A hint only: who misses it looks by himself after a while. */
function announce(broker: ServiceBroker, sequence: number): void {
  broadcast(broker, "events-appended", { sequence }).catch((error: unknown) =>
    broker.logger.debug("events-appended was not sent", error),
  );
}
