import type { Measurement, Sample } from "./measure.ts";
import { median } from "./statistics.ts";

/** The figures of a case: medians over its rounds, the peak over all of them. */
export interface Summary {
  measurement: Measurement;
  rollcall: SideSummary;
  peer: SideSummary;
  /** Rollcall's requests/s by the peer's of the same round. */
  speedRatio: Spread;
}

export interface SideSummary {
  requestsPerSecond: number;
  p50: number;
  p99: number;
  peakBytes: number;
  cpuMicrosecondsPerRequest: number;
}

/** Of the values of all rounds: how far they lie apart says how much the machine was disturbed. */
export interface Spread {
  median: number;
  lowest: number;
  highest: number;
}

export function summarize(measurement: Measurement): Summary {
  const { rollcall, peer } = measurement;
  return {
    measurement,
    rollcall: summarizeSide(rollcall),
    peer: summarizeSide(peer),
    speedRatio: ratioOf(rollcall, peer, (sample) => sample.requestsPerSecond),
  };
}

/** The quotient of two series round by round: a disturbance that lasts a round then cancels out. */
export function ratioOf<T>(dividends: T[], divisors: T[], figure: (sample: T) => number): Spread {
  const ratios = dividends.map((dividend, round) => figure(dividend) / figure(divisors[round] as T));
  return { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) };
}

/** What went wrong on either side. A case with any of it is invalid: errors are often faster than answers. */
export function faultsOf({ rollcall, peer }: Measurement): string[] {
  return [
    ...rollcall.flatMap((sample) => faultsOfSample("Rollcall", sample)),
    ...peer.flatMap((sample) => faultsOfSample("peer", sample)),
  ];
}

function faultsOfSample(side: string, { unexpected, failed }: Sample): string[] {
  const answers = Object.entries(unexpected).map(([status, count]) => `${side}: ${count} × ${status}`);
  return failed > 0 ? [...answers, `${side}: ${failed} without an answer`] : answers;
}

function summarizeSide(samples: Sample[]): SideSummary {
  const medianOf = (figure: (sample: Sample) => number): number => median(samples.map(figure));
  return {
    requestsPerSecond: medianOf((sample) => sample.requestsPerSecond),
    p50: medianOf((sample) => sample.p50),
    p99: medianOf((sample) => sample.p99),
    peakBytes: Math.max(...samples.map((sample) => sample.peakBytes)),
    cpuMicrosecondsPerRequest: medianOf((sample) => sample.cpuMicrosecondsPerRequest),
  };
}
