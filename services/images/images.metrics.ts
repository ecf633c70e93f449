import type { Registry } from "prom-client";
import { showMetric } from "../../broker/shown-metrics.ts";
import type { ImageProcessor, ImageProcessorUsage } from "./image-processor.ts";
import type { RemovalsRepository } from "./removals.repository.ts";

interface WatchedParts {
  processor: Pick<ImageProcessor, "usage">;
  removals: Pick<RemovalsRepository, "countPending">;
}

/** Shows what is done about images. */
export function watchImages(registry: Registry, { processor, removals }: WatchedParts): void {
  showMetric(registry, {
    name: "images_removals_pending",
    help: "Images whose bytes are still to be removed",
    type: "gauge",
    look: () => removals.countPending(),
  });
  const show = (
    name: string,
    help: string,
    type: "counter" | "gauge",
    valueOf: (usage: ImageProcessorUsage) => number,
  ): void => showMetric(registry, { name, help, type, look: () => valueOf(processor.usage()) });
  show("images_workers", "Processes that work on images, or wait for one", "gauge", (usage) => usage.workers);
  show("images_running", "Images that are worked on", "gauge", (usage) => usage.running);
  show("images_queue_length", "Images that wait for a worker", "gauge", (usage) => usage.waiting);
  show(
    "images_work_seconds_total",
    "Time that workers have spent on images",
    "counter",
    (usage) => usage.workSeconds,
  );
  show(
    "images_workers_lost_total",
    "Workers that ended within their work",
    "counter",
    (usage) => usage.workersLost,
  );
  showMetric(registry, {
    name: "images_processed_total",
    help: "Images by what became of them",
    type: "counter",
    look: () =>
      Object.entries(processor.usage().outcomes).map(([outcome, value]) => ({ labels: { outcome }, value })),
  });
}
