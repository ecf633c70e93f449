import { Counter, Gauge, type Registry } from "prom-client";
import type { EventsStatus } from "./events.contract.ts";
import type { Relay } from "./relay.ts";

type RelayCounts = Pick<Relay, "isLeader" | "publishedCount" | "failureCount">;
type Backlog = Pick<EventsStatus, "pending" | "oldestPendingSeconds" | "head" | "published">;

/**
 * Shows the backlog of events and what the relay of this node does; both are looked at when Prometheus asks.
 *
 * @param readBacklog when it fails, the gauges of the backlog are left out of the answer
 */
export function watchRelay(
  registry: Registry,
  relay: RelayCounts,
  readBacklog: () => Promise<Backlog>,
): void {
  showBacklog(registry, readBacklog);
  const registers = [registry];
  const leader: Gauge = new Gauge({
    name: "events_relay_is_leader",
    help: "Whether the relay of this node leads",
    registers,
    collect: () => leader.set(relay.isLeader ? 1 : 0),
  });
  const published: Counter = new Counter({
    name: "events_published_total",
    help: "Events published by this node",
    registers,
    collect: () => setTo(published, relay.publishedCount),
  });
  const failures: Counter = new Counter({
    name: "events_publish_failures_total",
    help: "Attempts of this node to publish that failed",
    registers,
    collect: () => setTo(failures, relay.failureCount),
  });
}

function setTo(counter: Counter, count: number): void {
  counter.reset();
  counter.inc(count);
}

function showBacklog(registry: Registry, readBacklog: () => Promise<Backlog>): void {
  let look: Promise<Backlog | undefined> | undefined;
  // One look for all gauges of a scrape.
  const lookOnce = (): Promise<Backlog | undefined> =>
    (look ??= readBacklog()
      .catch(() => undefined)
      .finally(() => (look = undefined)));
  const show = (name: string, help: string, valueOf: (backlog: Backlog) => number): void => {
    const gauge: Gauge = new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const backlog = await lookOnce();
        if (backlog) gauge.set(valueOf(backlog));
        else gauge.remove();
      },
    });
  };
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
