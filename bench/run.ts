/**
 * `npm run bench`: measures Rollcall, as a gateway and a users process over NATS, against the peer, on the same private
 * servers and the same million users. A complete run goes on record in `RESULTS.md`; with options it is only printed:
 *
 *     npm run bench -- --only get,create --rounds 1 --seconds 5 --users 100000 --connections 50
 *     npm run bench -- --only get --rounds 1 --seconds 20 --profile ./profiles
 */
import { prepareCases } from "./cases.ts";
import { describeMachine } from "./machine.ts";
import { measureCases, type Measurement } from "./measure.ts";
import { parseOptions, type Options } from "./options.ts";
import { recordFigures, renderFigures } from "./report.ts";
import { seedUsers } from "./seed.ts";
import { startServers, type Servers } from "./servers.ts";
import { startPeer, startRollcall } from "./sides.ts";
import { faultsOf, summarize } from "./summary.ts";

const options = parseOptions();
const progress = (line: string): void => console.error(line);

progress("starting PostgreSQL, NATS and Redis");
const servers = await startServers();
try {
  const machine = await describeMachine(servers, options.users);
  progress(`writing ${options.users.toLocaleString("en")} users`);
  await seedUsers(servers.database, options.users);
  const measurements = await measureAll(options, servers);

  const figures = renderFigures(machine, measurements.map(summarize));
  console.log(figures);
  const isValid = measurements.every((measurement) => faultsOf(measurement).length === 0);
  if (isValid && options.isComplete) await recordFigures(figures);
  if (!isValid) process.exitCode = 1;
} finally {
  await servers.stop();
}

/** Starts both sides and puts them under the chosen loads, one after another. */
async function measureAll(wanted: Options, shared: Servers): Promise<Measurement[]> {
  const { rounds, secondsPerRun, profileDir } = wanted;
  progress("starting Rollcall and the peer");
  const [rollcall, peer] = await Promise.all([
    startRollcall(shared, { profileDir }),
    startPeer(shared, profileDir),
  ]);
  try {
    const setup = { rollcall, peer, database: shared.database, rounds, secondsPerRun, report: progress };
    const cases = await prepareCases(wanted, [rollcall, peer], shared);
    const measurements: Measurement[] = [];
    for (const load of wanted.loads) {
      const ofLoad = cases.filter((measured) => measured.load === load);
      measurements.push(...(await measureCases(setup, ofLoad)));
    }
    return measurements;
  } finally {
    await Promise.all([rollcall.stop(), peer.stop()]);
  }
}
