import type { Registry } from "prom-client";
import { showMetric } from "../../broker/shown-metrics.ts";
import type { EventsStatus } from "./events.contract.ts";
import type { Relay } from "./relay.ts";

type RelayCounts = Pick<Relay, "isLeader" | "publishedCount" | "failureCount">;
type Backlog = Pick<EventsStatus, "pending" | "oldestPendingSeconds" | "head" | "published">;

/** Shows the backlog of events and what the relay of this node does. */
export function watchRelay(
  registry: Registry,
  relay: RelayCounts,
  readBacklog: () => Promise<Backlog>,
): void {
  showBacklog(registry, readBacklog);
  showMetric(registry, {
    name: "events_relay_is_leader",
    help: "Whether the relay of this node leads",
    type: "gauge",
    look: () => (relay.isLeader ? 1 : 0),
  });
  showMetric(registry, {
    name: "events_published_total",
    help: "Events published by this node",
    type: "counter",
    look: () => relay.publishedCount,
  });
  showMetric(registry, {
    name: "events_publish_failures_total",
    help: "Attempts of this node to publish that failed",
    type: "counter",
    look: () => relay.failureCount,
  });
}

function showBacklog(registry: Registry, readBacklog: () => Promise<Backlog>): void {
  let reading: Promise<Backlog> | undefined;
  // One look for all gauges of a scrape.
  const readOnce = (): Promise<Backlog> => (reading ??= readBacklog().finally(() => (reading = undefined)));
  const show = (name: string, help: string, valueOf: (backlog: Backlog) => number): void =>
    showMetric(registry, { name, help, type: "gauge", look: async () => valueOf(await readOnce()) });
  show("events_outbox_pending", "Events that wait to be moved to the log", ({ pending }) => pending);
  show(
    "events_outbox_oldest_age_seconds",
    "Age of the oldest event that waits to be moved to the log",
    ({ oldestPendingSeconds }) => oldestPendingSeconds,
  );
  show(
    "events_log_unpublished",
    "Events in the log that the stream has not confirmed",
    ({ head, published }) => head - published,
  );
}
