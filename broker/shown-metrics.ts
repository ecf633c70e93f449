import type { Metric, Registry } from "prom-client";

/** A value of a metric, and what tells it from the others. */
export interface Sample {
  labels: Record<string, string | number>;
  value: number;
  /** Where it is not that of the metric, as in a histogram. */
  metricName?: string;
}

interface ShownMetric {
  name: string;
  help: string;
  /** A counter's values only go up, from zero at the start of the process. */
  type: "counter" | "gauge" | "histogram";
  /** When it fails, the metric has no value, rather than the one of before. */
  look: () => number | readonly Sample[] | Promise<number | readonly Sample[]>;
}

/**
 * Shows values that are kept elsewhere: they are looked at when Prometheus asks. prom-client's own metrics keep their
 * values themselves.
 *
 * @throws Error when there is another metric of that name
 */
export function showMetric(registry: Registry, { name, help, type, look }: ShownMetric): void {
  const metric = {
    name,
    async get() {
      return { name, help, type, aggregator: "sum", values: await samplesOf(look) };
    },
  };
  // All that a registry asks of a metric.
  registry.registerMetric(metric as unknown as Metric);
}

async function samplesOf(look: ShownMetric["look"]): Promise<readonly Sample[]> {
  try {
    const found = await look();
    return typeof found === "number" ? [{ labels: {}, value: found }] : found;
  } catch {
    return [];
  }
}
