import type { Flushes } from "./disk.ts";
import { renderTable, spread, verdict, whole } from "./figures.ts";
import type { FaultResult } from "./redis-faults.ts";
import type { Latencies } from "./statistics.ts";
import type { SteadyResult } from "./steady.ts";
import type { Summary } from "./summary.ts";

const P99_TARGET_MS = 10;
const SPREAD_TARGET_MS = 5;
const HIT_RATIO_TARGET = 0.94;
const ADDED_TARGET_MS = 20;

export function renderComparisons(summaries: readonly Summary[]): string {
  const rows = summaries.map(({ measurement, rollcall, peer, speedRatio }) => {
    const { title, target = 0 } = measurement.case;
    return [
      title,
      whole(rollcall.requestsPerSecond),
      whole(peer.requestsPerSecond),
      spread(speedRatio),
      `≥ ${target}: ${verdict(speedRatio.median >= target)}`,
      `${milliseconds(rollcall.p99)} / ${milliseconds(peer.p99)}`,
      `${whole(rollcall.cpuMicrosecondsPerRequest)} / ${whole(peer.cpuMicrosecondsPerRequest)}`,
    ];
  });
  const header = [
    "Load",
    "Rollcall requests/s",
    "Peer requests/s",
    "Ratio (rounds)",
    "Target",
    "p99 ms",
    "CPU µs/request",
  ];
  return `## Cached reads\n\n${renderTable(header, rows)}`;
}

/** What the load was, and what the disk alone takes for a commit. */
export function renderSteadyTerms(load: string, disk: Latencies): string {
  return [
    "## A steady load",
    load,
    `No write is faster than the disk: \`fdatasync\` of a page takes ${milliseconds(disk.p50)} ms (p50), ${milliseconds(disk.p99)} ms (p99), ${milliseconds(disk.max)} ms (longest of ${disk.count}) on it before the load begins.`,
  ].join("\n\n");
}

export function renderSteady(title: string, result: SteadyResult, flushes: Flushes): string {
  const { reads, hits, writes, delays, hitRatio, failed } = result;
  const slowest = Math.max(reads.p99, writes.p99);
  return [
    `### ${title}`,
    renderLatencies(result),
    [
      `- p99 of every operation at most ${P99_TARGET_MS} ms: ${verdict(slowest <= P99_TARGET_MS)}`,
      `- p99 − p50 of cached reads at most ${SPREAD_TARGET_MS} ms: ${verdict(hits.p99 - hits.p50 <= SPREAD_TARGET_MS)}`,
      `- hit ratio ${percent(hitRatio)}, at least ${percent(HIT_RATIO_TARGET)}: ${verdict(hitRatio >= HIT_RATIO_TARGET)}`,
      `- failed requests: ${failed}`,
    ].join("\n"),
    `The load generator sent 1 % of the requests more than ${milliseconds(delays.p99)} ms after they were due, which counts as part of their time. PostgreSQL had its log kept on disk ${whole(flushes.count)} times, in ${flushes.meanMs.toFixed(2)} ms on average. Milliseconds of CPU for each request: ${renderCpu(result)}.`,
  ].join("\n\n");
}

/** For a load during which caches are lost: only that none of it fails is asked. */
export function renderDisturbed(title: string, result: SteadyResult): string {
  const { hitRatio, failed } = result;
  return [
    `### ${title}`,
    renderLatencies(result),
    `- failed requests: ${failed}, at most 0: ${verdict(failed === 0)}\n- hit ratio ${percent(hitRatio)}`,
  ].join("\n\n");
}

export function renderRedisFaults(load: string, results: readonly FaultResult[]): string {
  const calm = results[0];
  if (!calm) return "";
  const rows = results.map(({ fault, reads, writes, hitRatio, failed }) => {
    const added = Math.max(reads.p99 - calm.reads.p99, writes.p99 - calm.writes.p99);
    return [
      fault,
      `${milliseconds(reads.p50)} / ${milliseconds(reads.p99)}`,
      `${milliseconds(writes.p50)} / ${milliseconds(writes.p99)}`,
      fault === calm.fault ? "" : `${milliseconds(added)}: ${verdict(added <= ADDED_TARGET_MS)}`,
      percent(hitRatio),
      String(failed),
    ];
  });
  const header = [
    "Redis",
    "reads p50 / p99 ms",
    "writes p50 / p99 ms",
    `added to p99 (≤ ${ADDED_TARGET_MS} ms)`,
    "hit ratio",
    "failed",
  ];
  return ["## What a fault of Redis adds", load, renderTable(header, rows)].join("\n\n");
}

/** `load` is the generator; nodes are named by their services. */
function renderCpu({ cpu }: SteadyResult): string {
  const programs = [...cpu].filter(([, used]) => used >= 0.005).toSorted(([a], [b]) => a.localeCompare(b));
  return programs.map(([program, used]) => `${program} ${used.toFixed(2)}`).join("; ");
}

function renderLatencies({ reads, hits, writes }: SteadyResult): string {
  const row = (name: string, { count, p50, p99, max }: Latencies): string[] => [
    name,
    whole(count),
    milliseconds(p50),
    milliseconds(p99),
    milliseconds(max),
  ];
  return renderTable(
    ["Operation", "Count", "p50 ms", "p99 ms", "max ms"],
    [row("reads", reads), row("reads from a cache", hits), row("writes", writes)],
  );
}

function milliseconds(value: number): string {
  return value.toFixed(1);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
