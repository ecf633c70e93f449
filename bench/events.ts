/**
 * `node bench/events.ts`: how soon an event is handled, how fast a backlog leaves the outbox, and what publishing costs
 * those who write. The figures go on record in `EVENTS.md`; with options they are only printed:
 *
 *     node bench/events.ts --rounds 1 --rows 10000 --seconds 3
 *     node bench/events.ts --rounds 1 --profile ./profiles
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { newId } from "../lib/ids.ts";
import { readOptions } from "./command-line.ts";
import { measurePublishingCost, type CostRound } from "./event-cost.ts";
import { measureEventLatency } from "./event-latency.ts";
import { startEventNode } from "./event-nodes.ts";
import { renderTable, verdict, whole } from "./figures.ts";
import { describeMachine } from "./machine.ts";
import { startServers, type Servers } from "./servers.ts";
import { median, type Latencies } from "./statistics.ts";

const ROWS = 50_000;
const TARGET_PER_SECOND = 5000;
const TARGET_P50_MS = 5;
const TARGET_P99_MS = 50;
/** Most times over that the median latency of a write may be. */
const TARGET_COST = 1.1;
const POLL_MS = 5;

/** Events about so many users: each has several, which must stay in order. */
const SUBJECTS = 10_000;

/** Events of the size that a user with all its fields has. */
const BACKLOG = `
  INSERT INTO events.outbox (id, type, subject, data, actor, request_id, changed_fields, occurred_at)
  SELECT gen_random_uuid(), 'user-updated_v1', subject,
    jsonb_build_object('id', subject, 'email', subject || '@example.com', 'firstName', 'Ada', 'lastName', 'Lovelace',
      'nickname', 'ada', 'country', 'GB', 'bio', repeat('Notes on the engine. ', 5), 'imageUrls', '[]'::jsonb,
      'avatarUrl', null, 'role', 'user', 'status', 'active', 'version', n, 'createdAt', now(), 'updatedAt', now()),
    'user:' || subject, gen_random_uuid(), '{lastName,bio}', now()
  FROM generate_series(1, $2::integer) AS n
  CROSS JOIN LATERAL (SELECT ($1::uuid[])[1 + n % cardinality($1::uuid[])] AS subject) AS chosen`;

/** One backlog, from its commit on. */
interface Drain {
  /** Until the last event was in the log. */
  loggedMs: number;
  /** Until the last event was confirmed by the stream. */
  publishedMs: number;
}

const options = readOptions({ rounds: 5, rows: ROWS, seconds: 15, profile: undefined });
const isComplete = process.argv.length === 2;
const { rounds, rows, seconds } = options;
const progress = (line: string): void => console.error(line);

progress("starting PostgreSQL, NATS and Redis");
const servers = await startServers({ track_commit_timestamp: "on" });
try {
  const machine = await describeMachine(servers, 0);
  // First, as its nodes would else handle the events of the other measurements meanwhile.
  progress("the cost of publishing");
  const costs = await measurePublishingCost(servers, rounds, seconds);
  progress("from the commit to the handler");
  const latencies = await measureEventLatency(servers, rounds, seconds);
  const drains = await measureDrains(servers);
  const figures = [
    machine.join("\n"),
    renderLatencies(latencies),
    renderDrains(drains),
    renderCosts(costs),
  ].join("\n\n");
  console.log(figures);
  if (isComplete)
    await writeFile(
      join(import.meta.dirname, "EVENTS.md"),
      `# How fast events are published\n\n${figures}\n`,
    );
} finally {
  await servers.stop();
}

async function measureDrains(shared: Servers): Promise<Drain[]> {
  const profiling: Record<string, string> =
    options.profile === undefined ? {} : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${options.profile}` };
  const node = await startEventNode(shared, { services: "events", env: profiling });
  const drains: Drain[] = [];
  try {
    for (let round = 1; round <= rounds; round += 1) {
      progress(`backlog ${round} of ${rounds}`);
      drains.push(await measureDrain(shared));
    }
  } finally {
    await node.stop();
  }
  return drains;
}

async function measureDrain({ database }: Servers): Promise<Drain> {
  const head = async (column: "head" | "published"): Promise<number> => {
    const { rows: found } = await database.query<{ value: number }>(
      `SELECT ${column}::float8 AS value FROM events.relay`,
    );
    return found[0]?.value ?? Number.NaN;
  };
  const goal = (await head("head")) + rows;
  await database.query(BACKLOG, [Array.from({ length: SUBJECTS }, newId), rows]);
  await database.query("SELECT pg_notify('events_outbox', '')");
  const startedAt = performance.now();
  const reached = async (column: "head" | "published"): Promise<number> => {
    while ((await head(column)) < goal) await sleep(POLL_MS);
    return performance.now() - startedAt;
  };
  return { loggedMs: await reached("head"), publishedMs: await reached("published") };
}

function renderLatencies(latencies: readonly Latencies[]): string {
  const lines = latencies.map(({ count, p50, p99, max }) => [
    whole(count),
    p50.toFixed(2),
    p99.toFixed(2),
    max.toFixed(2),
  ]);
  const p50 = median(latencies.map((round) => round.p50));
  const p99 = median(latencies.map((round) => round.p99));
  return [
    "## From the commit to the handler of a durable consumer",
    "200 users a second are created; milliseconds from the commit, before it is flushed, until the handler is called.",
    renderTable(["events", "p50", "p99", "slowest"], lines),
    `Median p50: ${p50.toFixed(2)}; target at most ${TARGET_P50_MS}: ${verdict(p50 <= TARGET_P50_MS)}. Median p99: ${p99.toFixed(2)}; target at most ${TARGET_P99_MS}: ${verdict(p99 <= TARGET_P99_MS)}.`,
  ].join("\n\n");
}

function renderDrains(drains: readonly Drain[]): string {
  const perSecond = (ms: number): string => whole((rows / ms) * 1000);
  const lines = drains.map(({ loggedMs, publishedMs }, index) => [
    String(index + 1),
    perSecond(loggedMs),
    perSecond(publishedMs),
  ]);
  const publishedMs = median(drains.map((drain) => drain.publishedMs));
  return [
    `## A backlog of ${whole(rows)} events`,
    `One relay; from the commit until the last event is in the log, and until the stream has confirmed it.`,
    renderTable(["backlog", "moved to the log, events/s", "published, events/s"], lines),
    `Median published: ${perSecond(publishedMs)} events/s; target ${whole(TARGET_PER_SECOND)}: ${verdict((rows / publishedMs) * 1000 >= TARGET_PER_SECOND)}.`,
  ].join("\n\n");
}

function renderCosts(costs: readonly CostRound[]): string {
  const lines = costs.map(({ published, unpublished }) =>
    [published.p50, unpublished.p50, published.p50 / unpublished.p50, published.p99, unpublished.p99].map(
      (value) => value.toFixed(2),
    ),
  );
  const cost = median(costs.map(({ published, unpublished }) => published.p50 / unpublished.p50));
  return [
    "## What publishing costs those who write",
    "`POST /users`, 200 a second at a steady rate, with a relay that publishes and without any; milliseconds from the moment at which a request was due. Both sides are the same processes, in turns: a relay that may not lead does nothing.",
    renderTable(["p50 with", "p50 without", "times", "p99 with", "p99 without"], lines),
    `Median: ${cost.toFixed(2)} times; target at most ${TARGET_COST}: ${verdict(cost <= TARGET_COST)}.`,
    renderCpu(costs),
  ].join("\n\n");
}

/** Milliseconds of CPU for each request, by the program that took it. */
function renderCpu(costs: readonly CostRound[]): string {
  const cpuOf = (side: keyof CostRound, program: string): number =>
    median(costs.map((round) => round[side].cpu.get(program) ?? 0));
  const programs = [...new Set(costs.flatMap(({ published }) => [...published.cpu.keys()]))]
    .filter((program) => cpuOf("published", program) >= 0.005)
    .toSorted();
  const lines = programs.map((program) => [
    program,
    cpuOf("published", program).toFixed(2),
    cpuOf("unpublished", program).toFixed(2),
  ]);
  const total = (side: keyof CostRound): number =>
    programs.filter((program) => program !== "load").reduce((sum, program) => sum + cpuOf(side, program), 0);
  return [
    "Milliseconds of CPU for each request, medians; `load` is the generator, `api`, `users,auth` and `events` are the nodes with these services:",
    renderTable(["program", "with", "without"], lines),
    `All but the generator: ${(total("published") / total("unpublished")).toFixed(2)} times.`,
  ].join("\n\n");
}
