/**
 * `node bench/events.ts`: how fast events leave the outbox. The figures go on record in `EVENTS.md`; with options they
 * are only printed:
 *
 *     node bench/events.ts --rounds 1 --rows 10000
 *     node bench/events.ts --rounds 1 --profile ./profiles
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { newId } from "../lib/ids.ts";
import { startRollcall, type Rollcall } from "../test/support/rollcall-process.ts";
import { describeMachine } from "./machine.ts";
import { startServers, type Servers } from "./servers.ts";

const ROWS = 50_000;
const TARGET_PER_SECOND = 5000;
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

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    rows: { type: "string", default: String(ROWS) },
    profile: { type: "string" },
  },
});
const isComplete = process.argv.length === 2;
const rows = Number(options.rows);
const progress = (line: string): void => console.error(line);

progress("starting PostgreSQL, NATS and Redis");
const servers = await startServers();
try {
  const machine = await describeMachine(servers, 0);
  const drains = await measureDrains(servers, Number(options.rounds));
  const figures = [machine.join("\n"), renderDrains(drains)].join("\n\n");
  console.log(figures);
  if (isComplete)
    await writeFile(
      join(import.meta.dirname, "EVENTS.md"),
      `# How fast events are published\n\n${figures}\n`,
    );
} finally {
  await servers.stop();
}

async function measureDrains(shared: Servers, rounds: number): Promise<Drain[]> {
  const node = await startEventsNode(shared);
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

function startEventsNode({ databaseUrl, natsUrl, redisUrl }: Servers): Promise<Rollcall> {
  return startRollcall({
    env: {
      DATABASE_URL: databaseUrl,
      NATS_URL: natsUrl,
      REDIS_URL: redisUrl,
      SECRET: "a secret of the benchmark, 32 characters or more",
      SERVICES: "events",
      LOG_FORMAT: "json",
      NODE_ENV: "production",
      ...(options.profile !== undefined && {
        NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${options.profile}`,
      }),
    },
  });
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

function renderDrains(drains: readonly Drain[]): string {
  const perSecond = (ms: number): string => Math.round((rows / ms) * 1000).toLocaleString("en");
  const lines = drains.map(
    ({ loggedMs, publishedMs }, index) =>
      `| ${index + 1} | ${perSecond(loggedMs)} | ${perSecond(publishedMs)} |`,
  );
  const median =
    drains.map(({ publishedMs }) => publishedMs).toSorted((a, b) => a - b)[drains.length >> 1] ?? Infinity;
  const verdict = (rows / median) * 1000 >= TARGET_PER_SECOND ? "met" : "missed";
  return [
    `## A backlog of ${rows.toLocaleString("en")} events`,
    `One relay; from the commit until the last event is in the log, and until the stream has confirmed it.`,
    ["| backlog | moved to the log, events/s | published, events/s |", "| --- | --- | --- |", ...lines].join(
      "\n",
    ),
    `Median published: ${perSecond(median)} events/s; target ${TARGET_PER_SECOND.toLocaleString("en")}: ${verdict}.`,
  ].join("\n\n");
}
