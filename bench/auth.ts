/**
 * `node bench/auth.ts`: what it costs that requests are authenticated and counted against limits, what logins cost those
 * who are logged in, and whether the time of a refused login tells who is a user. The figures go on record in `AUTH.md`;
 * with options they are only printed:
 *
 *     node bench/auth.ts --rounds 1 --seconds 5 --logins 100
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { readOptions } from "./command-line.ts";
import { compareRollcalls, readCases, renderComparison } from "./comparison.ts";
import { verdict } from "./figures.ts";
import { runLoadGenerator, type Measurement } from "./measure.ts";
import type { LoadResult } from "./load.ts";
import { describeMachine } from "./machine.ts";
import { sampleIds, seedUsers } from "./seed.ts";
import { startServers } from "./servers.ts";
import { ADMIN, startRollcall, type Side } from "./sides.ts";
import { median } from "./statistics.ts";
import { faultsOf } from "./summary.ts";

const USERS = 10_000;
const READ_CONNECTIONS = 10;
const LOGIN_CLIENTS = 8;
/** Least share of the throughput without authentication and limits. */
const SPEED_TARGET = 0.85;
/** Most times over that the p99 of reads may be while others log in. */
const TARGET_FACTOR = 2;
/** Most by which the median of refused logins may differ. */
const TARGET_DIFFERENCE = 0.05;

const { rounds, seconds, logins } = readOptions({ rounds: 5, seconds: 6, logins: 400 });
const isComplete = process.argv.length === 2;
const progress = (line: string): void => console.error(line);

/** Reads without logins, reads beside them, and how many logins there were meanwhile. */
interface Round {
  alone: LoadResult;
  beside: LoadResult;
  loginsPerSecond: number;
}

progress("starting PostgreSQL, NATS and Redis");
const servers = await startServers();
try {
  const machine = await describeMachine(servers, USERS);
  await seedUsers(servers.database, USERS);
  const guarded = await measureGuards();
  const { measured, refused } = await measureLogins();
  const faults = guarded.flatMap(faultsOf);
  const figures = [
    machine.join("\n"),
    "## Requests that are authenticated by an access token and counted against limits",
    renderComparison("both", guarded, SPEED_TARGET),
    renderRounds(measured),
    renderRefusals(refused),
    ...faults.map((fault) => `**INVALID: ${fault}**`),
  ].join("\n\n");
  console.log(figures);
  if (faults.length > 0) process.exitCode = 1;
  else if (isComplete)
    await writeFile(join(import.meta.dirname, "AUTH.md"), `# What authentication costs\n\n${figures}\n`);
} finally {
  await servers.stop();
}

async function measureGuards(): Promise<Measurement[]> {
  const difference = {
    name: "both",
    on: { guards: "token-and-limits" },
    off: { guards: "none" },
  } as const;
  const settings = { rounds, secondsPerRun: seconds, report: progress };
  return compareRollcalls(servers, difference, settings, async (measure) =>
    measure(await readCases(servers, SPEED_TARGET)),
  );
}

async function measureLogins(): Promise<{ measured: Round[]; refused: Refusals }> {
  const side = await startRollcall(servers);
  try {
    const paths = (await sampleIds(servers.database, USERS)).map((id) => `/api/v1/users/${id}`);
    await readUsers(side, paths, 3);
    const measured: Round[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      progress(`reads and logins, round ${round} of ${rounds}`);
      measured.push(await measureRound(side, paths));
    }
    progress("refused logins, one after another");
    return { measured, refused: await measureRefusals(side) };
  } finally {
    await side.stop();
  }
}

function readUsers(side: Side, paths: string[], forSeconds = seconds): Promise<LoadResult> {
  return runLoadGenerator({
    baseUrl: side.baseUrl,
    paths,
    creates: false,
    headers: side.credentials,
    connections: READ_CONNECTIONS,
    seconds: forSeconds,
  });
}

async function measureRound(side: Side, paths: string[]): Promise<Round> {
  const alone = await readUsers(side, paths);
  const stop = new AbortController();
  let count = 0;
  const clients = Array.from({ length: LOGIN_CLIENTS }, async () => {
    while (!stop.signal.aborted) if ((await logIn(side, ADMIN)) === 200) count += 1;
  });
  const beside = await readUsers(side, paths);
  stop.abort();
  await Promise.all(clients);
  return { alone, beside, loginsPerSecond: count / seconds };
}

async function logIn(side: Side, login: { email: string; password: string }): Promise<number> {
  const response = await fetch(`${side.baseUrl}/api/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(login),
  });
  await response.arrayBuffer();
  return response.status;
}

/** Milliseconds of logins that were refused. */
interface Refusals {
  wrongPassword: number[];
  unknownUser: number[];
}

async function measureRefusals(side: Side): Promise<Refusals> {
  const refusals: Refusals = { wrongPassword: [], unknownUser: [] };
  const attempts = {
    wrongPassword: { email: ADMIN.email, password: "not the password" },
    unknownUser: { email: "nobody@example.com", password: "not the password" },
  };
  for (let round = 0; round < logins; round += 1) {
    // In turns: what else the machine does meanwhile troubles both alike.
    for (const kind of ["wrongPassword", "unknownUser"] as const) {
      const startedAt = performance.now();
      const status = await logIn(side, attempts[kind]);
      if (status !== 401) throw new Error(`A wrong login was answered with ${status}`);
      refusals[kind].push(performance.now() - startedAt);
    }
  }
  return refusals;
}

function renderRounds(measured: readonly Round[]): string {
  const lines = measured.map(
    ({ alone, beside, loginsPerSecond }) =>
      `| ${milliseconds(alone.p99)} | ${milliseconds(beside.p99)} | ${(beside.p99 / alone.p99).toFixed(2)} | ${Math.round(alone.requestsPerSecond)} | ${Math.round(beside.requestsPerSecond)} | ${Math.round(loginsPerSecond)} |`,
  );
  const factor = median(measured.map(({ alone, beside }) => beside.p99 / alone.p99));
  return [
    `## Reads while ${LOGIN_CLIENTS} clients log in as fast as they can`,
    `\`GET /users/:id\` over ${READ_CONNECTIONS} connections; p99 in milliseconds.`,
    [
      "| p99 alone | p99 beside logins | times | reads/s alone | reads/s beside | logins/s |",
      "| --- | --- | --- | --- | --- | --- |",
      ...lines,
    ].join("\n"),
    `Median: ${factor.toFixed(2)} times; target at most ${TARGET_FACTOR}: ${verdict(factor <= TARGET_FACTOR)}.`,
  ].join("\n\n");
}

function renderRefusals({ wrongPassword, unknownUser }: Refusals): string {
  const [known, unknown] = [median(wrongPassword), median(unknownUser)];
  const difference = Math.abs(unknown / known - 1);
  return [
    "## Refused logins",
    `Median of ${logins}, in turns: a wrong password ${milliseconds(known)} ms, an unknown user ${milliseconds(unknown)} ms.`,
    `They differ by ${(difference * 100).toFixed(1)} %; target at most ${TARGET_DIFFERENCE * 100} %: ${verdict(difference <= TARGET_DIFFERENCE)}.`,
  ].join("\n\n");
}

function milliseconds(value: number): string {
  return value.toFixed(2);
}
