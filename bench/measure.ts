import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

import type { Case } from "./cases.ts";
import type { FileLoad, FileLoadResult } from "./file-load.ts";
import type { LoadResult, LoadSpec } from "./load.ts";
import { watchUsage } from "./process-usage.ts";
import type { Servers } from "./servers.ts";
import type { Side } from "./sides.ts";

/** One run of one case against one side. */
export interface Sample extends LoadResult {
  peakBytes: number;
  /** CPU time of the side's processes, without PostgreSQL and Redis. */
  cpuMicrosecondsPerRequest: number;
}

/** All runs of a case: the sample at an index of one side was taken right beside that of the other. */
export interface Measurement {
  case: Case;
  rollcall: Sample[];
  peer: Sample[];
}

interface Setup {
  rollcall: Side;
  peer: Side;
  database: Servers["database"];
  rounds: number;
  secondsPerRun: number;
  report: (line: string) => void;
}

const WARM_UP_SECONDS = 3;

/**
 * Puts both sides under the load of each case, in turns (A B, B A, …): what else the machine does meanwhile troubles
 * all alike, so that the figures of one round may be compared. A warm-up comes before and is not counted.
 */
export async function measureCases(setup: Setup, cases: readonly Case[]): Promise<Measurement[]> {
  const { rollcall, peer } = setup;
  const measurements = cases.map((measured): Measurement => ({ case: measured, rollcall: [], peer: [] }));
  for (const measured of cases) {
    for (const side of [rollcall, peer]) await runLoad(side, measured, WARM_UP_SECONDS);
  }
  for (let round = 0; round < setup.rounds; round++) {
    for (const measurement of measurements) {
      const turns = [
        { side: rollcall, samples: measurement.rollcall },
        { side: peer, samples: measurement.peer },
      ];
      for (const { side, samples } of round % 2 === 0 ? turns : turns.toReversed()) {
        samples.push(await measureOnce(setup, side, measurement.case));
      }
    }
  }
  return measurements;
}

async function measureOnce(
  { database, secondsPerRun, report }: Setup,
  side: Side,
  measured: Case,
): Promise<Sample> {
  // Otherwise a checkpoint that one side's writes have earned may fall into the other's turn.
  await database.query("CHECKPOINT");
  const sample = await runLoad(side, measured, secondsPerRun);
  const speed = Math.round(sample.requestsPerSecond).toLocaleString("en");
  report(`${measured.title}, ${measured.connections} connections: ${side.name} ${speed} requests/s`);
  return sample;
}

async function runLoad(side: Side, measured: Case, seconds: number): Promise<Sample> {
  const usageOf = watchUsage(side.pids);
  const spec = measured.spec(side);
  const headers = { ...side.credentials, ...spec.headers };
  const load: LoadSpec = { ...spec, headers, connections: measured.connections, seconds };
  const result = await runLoadGenerator(load);
  const { peakBytes, cpuSeconds } = usageOf();
  return { ...result, peakBytes, cpuMicrosecondsPerRequest: (cpuSeconds * 1e6) / result.completed };
}

/** Runs one load in a process of its own. */
export function runLoadGenerator(load: LoadSpec): Promise<LoadResult> {
  return runProgram("load.ts", load);
}

/** As {@link runLoadGenerator}, for files. */
export function runFileLoad(load: FileLoad): Promise<FileLoadResult> {
  return runProgram("file-load.ts", load);
}

async function runProgram<Result>(name: string, load: LoadSpec | FileLoad): Promise<Result> {
  // In a session of its own: Linux may share the processors between sessions, and each node has one.
  const child = fork(join(import.meta.dirname, name), { detached: true });
  child.send(load);
  const [result] = (await Promise.race([once(child, "message"), failure(child)])) as [Result];
  return result;
}

async function failure(child: ReturnType<typeof fork>): Promise<never> {
  const [code] = (await once(child, "exit")) as [number | null];
  throw new Error(`the load generator ended with code ${code}`);
}
