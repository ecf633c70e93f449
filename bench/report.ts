import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { renderTable, spread, verdict, whole } from "./figures.ts";
import { faultsOf, ratioOf, type Summary } from "./summary.ts";

const RESULTS = join(import.meta.dirname, "RESULTS.md");
const BEGIN = "<!-- figures: begin. Written by `npm run bench`; text outside of the two marks is kept. -->";
const END = "<!-- figures: end -->";

/** How much longer a page deep in the list may take than the first. */
const DEEP_TARGET = 1.5;

/** The figures as Markdown. */
export function renderFigures(machine: string[], summaries: Summary[]): string {
  return [
    machine.join("\n"),
    renderLoads(summaries),
    renderCosts(summaries),
    renderDepth(summaries),
    renderFaults(summaries),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

/** Replaces the figures in `RESULTS.md`. */
export async function recordFigures(figures: string): Promise<void> {
  const text = await readFile(RESULTS, "utf8");
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin === -1 || end < begin) throw new Error(`the marks for the figures are missing in ${RESULTS}`);
  await writeFile(RESULTS, `${text.slice(0, begin)}${BEGIN}\n\n${figures}\n\n${text.slice(end)}`);
}

function renderLoads(summaries: Summary[]): string {
  return renderTable(
    [
      "Load",
      "Connections",
      "Rollcall requests/s",
      "Peer requests/s",
      "Ratio (rounds)",
      "Target",
      "Rollcall p50 / p99 ms",
      "Peer p50 / p99 ms",
    ],
    summaries.map(({ measurement: { case: measured }, rollcall, peer, speedRatio }) => [
      measured.title,
      String(measured.connections),
      whole(rollcall.requestsPerSecond),
      whole(peer.requestsPerSecond),
      spread(speedRatio),
      measured.target === undefined
        ? ""
        : `≥ ${measured.target}: ${verdict(speedRatio.median >= measured.target)}`,
      `${rollcall.p50.toFixed(1)} / ${rollcall.p99.toFixed(1)}`,
      `${peer.p50.toFixed(1)} / ${peer.p99.toFixed(1)}`,
    ]),
  );
}

function renderCosts(summaries: Summary[]): string {
  return renderTable(
    [
      "Load",
      "Connections",
      "Rollcall memory MiB",
      "Peer memory MiB",
      "Rollcall CPU µs/request",
      "Peer CPU µs/request",
    ],
    summaries.map(({ measurement: { case: measured }, rollcall, peer }) => [
      measured.title,
      String(measured.connections),
      mebibytes(rollcall.peakBytes),
      mebibytes(peer.peakBytes),
      whole(rollcall.cpuMicrosecondsPerRequest),
      whole(peer.cpuMicrosecondsPerRequest),
    ]),
  );
}

/** A deep page against page 1 of the same side: by the median time of an answer. */
function renderDepth(summaries: Summary[]): string {
  const deep = summaries.filter(({ measurement }) => measurement.case.load === "deep");
  const pairs = deep.flatMap((first, index) =>
    index % 2 === 0 ? [{ first, last: deep[index + 1] as Summary }] : [],
  );
  if (pairs.length === 0) return "";
  return renderTable(
    ["p50 of a deep page by that of page 1", "Connections", "Rollcall (rounds)", "Target", "Peer (rounds)"],
    pairs.map(({ first: { measurement: first }, last: { measurement: last } }) => {
      const rollcall = ratioOf(last.rollcall, first.rollcall, (sample) => sample.p50);
      const peer = ratioOf(last.peer, first.peer, (sample) => sample.p50);
      return [
        last.case.title,
        String(last.case.connections),
        spread(rollcall),
        `≤ ${DEEP_TARGET}: ${verdict(rollcall.median <= DEEP_TARGET)}`,
        spread(peer),
      ];
    }),
  );
}

function renderFaults(summaries: Summary[]): string {
  const faults = summaries.flatMap(({ measurement }) => {
    const { title, connections } = measurement.case;
    return faultsOf(measurement).map((fault) => `- **${title}, ${connections} connections: ${fault}**`);
  });
  return faults.length === 0
    ? "Every request of every run was answered with 2xx."
    : `**INVALID: not every request was answered with 2xx.**\n\n${faults.join("\n")}`;
}

const mebibytes = (bytes: number): string => whole(bytes / 1024 ** 2);
