import { startNats } from "../test/support/nats.ts";
import type { Case } from "./cases.ts";
import { renderTable, spread, verdict, whole } from "./figures.ts";
import { measureCases, type Measurement } from "./measure.ts";
import { sampleIds } from "./seed.ts";
import type { Servers } from "./servers.ts";
import { startRollcall, type RollcallOptions, type Side } from "./sides.ts";
import { summarize } from "./summary.ts";

/** What is switched on in one Rollcall and off in the other. */
interface Difference {
  /** Completes "with …". */
  name: string;
  on: RollcallOptions;
  off: RollcallOptions;
}

/** Measures the two in turns: "Rollcall" has the difference, "the peer" has not. */
type Measure = (cases: readonly Case[], rounds?: number) => Promise<Measurement[]>;

interface Settings {
  rounds: number;
  secondsPerRun: number;
  report: (line: string) => void;
}

const CONNECTIONS = 50;

/** Starts two Rollcalls on the same PostgreSQL and Redis, and stops them when `use` is done. */
export async function compareRollcalls<T>(
  servers: Servers,
  { name, on, off }: Difference,
  settings: Settings,
  use: (measure: Measure) => Promise<T>,
): Promise<T> {
  // On one NATS server the two would be one system.
  const otherNats = await startNats({ jetStream: true });
  const sides = await Promise.all([
    startRollcall(servers, on),
    startRollcall({ ...servers, natsUrl: otherNats.url }, off),
  ]);
  // NATS is counted with neither.
  const [withIt, without] = sides.map((side) => ({
    ...side,
    pids: side.pids.filter((pid) => pid !== servers.natsPid),
  })) as [Side, Side];
  try {
    return await use((cases, rounds = settings.rounds) =>
      measureCases(
        {
          rollcall: { ...withIt, name: `with ${name}` },
          peer: { ...without, name: "without" },
          database: servers.database,
          ...settings,
          rounds,
        },
        cases,
      ),
    );
  } finally {
    await Promise.all(sides.map((side) => side.stop()));
    await otherNats.stop();
  }
}

/** The cheapest request there is, of which what is compared is the largest part, and one that goes all the way. */
export async function readCases({ database }: Servers, target: number): Promise<Case[]> {
  const paths = (await sampleIds(database, 1000)).map((id) => `/api/v1/users/${id}`);
  const of = (title: string, headers: Record<string, string>): Case => ({
    load: "get",
    title,
    connections: CONNECTIONS,
    target,
    spec: ({ baseUrl }) => ({ baseUrl, paths, creates: false, headers }),
  });
  return [of("GET /users/:id, cached", {}), of("GET /users/:id, uncached", { "cache-control": "no-cache" })];
}

/** A table of measurements against the least share of the throughput without the difference. */
export function renderComparison(name: string, measurements: readonly Measurement[], target: number): string {
  return renderTable(
    [
      `Load, ${CONNECTIONS} connections`,
      `With ${name} requests/s`,
      "Without requests/s",
      "Ratio (rounds)",
      "Target",
      "CPU µs/request with / without",
    ],
    measurements
      .map(summarize)
      .map(({ measurement, rollcall, peer, speedRatio }) => [
        measurement.case.title,
        whole(rollcall.requestsPerSecond),
        whole(peer.requestsPerSecond),
        spread(speedRatio),
        `≥ ${target}: ${verdict(speedRatio.median >= target)}`,
        `${whole(rollcall.cpuMicrosecondsPerRequest)} / ${whole(peer.cpuMicrosecondsPerRequest)}`,
      ]),
  );
}
