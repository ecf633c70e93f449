import type { Sample } from "./shown-metrics.ts";

/** Counts durations by buckets. Plain numbers: prom-client's own would cost more than a request that the cache answers. */
export class DurationHistogram {
  readonly #boundsS: readonly number[];
  /** The last one is for those that took longer. */
  readonly #counts: number[];
  totalSeconds = 0;

  /** @param boundsS the upper bounds of the buckets, in seconds */
  constructor(boundsS: readonly number[]) {
    this.#boundsS = boundsS;
    this.#counts = Array.from({ length: boundsS.length + 1 }, () => 0);
  }

  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  observe(seconds: number): void {
    this.totalSeconds += seconds;
    const bounds = this.#boundsS;
    let index = 0;
    while (index < bounds.length && seconds > (bounds[index] as number)) index += 1;
    this.#counts[index] = (this.#counts[index] as number) + 1;
  }

  /** As Prometheus wants them: each bucket counts those of the smaller ones too. */
  samples(name: string, labels: Sample["labels"]): Sample[] {
    let sum = 0;
    const buckets = this.#counts.map((count, index): Sample => {
      sum += count;
      return {
        metricName: `${name}_bucket`,
        labels: { ...labels, le: this.#boundsS[index] ?? "+Inf" },
        value: sum,
      };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: this.totalSeconds },
      { metricName: `${name}_count`, labels, value: sum },
    ];
  }
}
