import { Counter, Gauge, type Registry } from "prom-client";
import type { ImageProcessor, ImageProcessorUsage } from "./image-processor.ts";
import type { RemovalsRepository } from "./removals.repository.ts";

interface WatchedParts {
  processor: Pick<ImageProcessor, "usage">;
  removals: Pick<RemovalsRepository, "countPending">;
}

/** Shows what is done about images; it is looked at when Prometheus asks. */
export function watchImages(registry: Registry, { processor, removals }: WatchedParts): void {
  showWork(registry, processor);
  const pending: Gauge = new Gauge({
    name: "images_removals_pending",
    help: "Images whose bytes are still to be removed",
    registers: [registry],
    async collect() {
      const count = await removals.countPending().catch(() => undefined);
      // What cannot be asked for has no value, rather than the one of before.
      if (count === undefined) pending.remove();
      else pending.set(count);
    },
  });
}

function showWork(registry: Registry, processor: Pick<ImageProcessor, "usage">): void {
  const registers = [registry];
  const gauge = (name: string, help: string, valueOf: (usage: ImageProcessorUsage) => number): void => {
    const shown: Gauge = new Gauge({
      name,
      help,
      registers,
      collect: () => shown.set(valueOf(processor.usage())),
    });
  };
  const counter = (name: string, help: string, valueOf: (usage: ImageProcessorUsage) => number): void => {
    const shown: Counter = new Counter({
      name,
      help,
      registers,
      collect() {
        shown.reset();
        shown.inc(valueOf(processor.usage()));
      },
    });
  };
  gauge("images_workers", "Processes that work on images, or wait for one", ({ workers }) => workers);
  gauge("images_running", "Images that are worked on", ({ running }) => running);
  gauge("images_queue_length", "Images that wait for a worker", ({ waiting }) => waiting);
  counter(
    "images_work_seconds_total",
    "Time that workers have spent on images",
    (usage) => usage.workSeconds,
  );
  counter("images_workers_lost_total", "Workers that ended within their work", (usage) => usage.workersLost);
  const outcomes: Counter<"outcome"> = new Counter({
    name: "images_processed_total",
    help: "Images by what became of them",
    labelNames: ["outcome"],
    registers,
    collect() {
      outcomes.reset();
      for (const [outcome, count] of Object.entries(processor.usage().outcomes))
        outcomes.inc({ outcome }, count);
    },
  });
}
