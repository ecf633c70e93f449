import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { connect } from "nats";

import { migrate } from "../../bootstrap/migrate.ts";
import { ChaosWriter, ROLLED_BACK } from "../support/chaos-writer.ts";
import { queryOnce } from "../support/databases.ts";
import { readStream } from "../support/event-stream.ts";
import { startNats } from "../support/nats.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";
import { runRollcall } from "../support/rollcall-process.ts";
import type { TestServer } from "../support/server-process.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { refuseEventsOf } from "../support/stored-rows.ts";
import { supervise, type Supervised } from "../support/supervised.ts";
import { waitFor } from "../support/wait-for.ts";

/** `make test` takes the short form; `make test-chaos` the long one, which also has to keep up the rate. */
const SHORT_SECONDS = 15;
const SECONDS = Number(process.env["CHAOS_SECONDS"] ?? SHORT_SECONDS);
const SEED = Number(process.env["CHAOS_SEED"] ?? Date.now() % 1_000_000);
const TRANSACTIONS_PER_SECOND = 330;
/** On a machine that is busy with other tests neither a rate nor a time says anything. */
const MIN_TRANSACTIONS_PER_SECOND = SECONDS > SHORT_SECONDS ? 300 : 0;
const DRAIN_MS = SECONDS > SHORT_SECONDS ? 30_000 : 90_000;
const CONSUMER = "../test/support/chaos-consumer.ts";

let postgres: TestPostgres;
let nats: TestServer;
let env: Record<string, string>;
let relay: Supervised;
let consumers: Supervised[];
let writer: ChaosWriter | undefined;

beforeAll(async () => {
  [postgres, nats] = await Promise.all([startPostgres(), startNats({ jetStream: true })]);
  await migrate(postgres.url, silentLogger);
  await sql(`CREATE TABLE public.effects (position bigint GENERATED ALWAYS AS IDENTITY,
    event_id uuid, subject uuid, version integer, nickname text)`);
  await refuseEventsOf({ sql }, ROLLED_BACK);
  env = {
    DATABASE_URL: postgres.url,
    NATS_URL: nats.url,
    SECRET: "0".repeat(32),
    DRAIN_DELAY_MS: "0",
    DATABASE_POOL_MAX: "6",
  };
  relay = supervise({ env: { ...env, SERVICES: "events", NODE_ID: "relay" } });
  consumers = ["consumer-1", "consumer-2"].map((id) =>
    supervise({ program: CONSUMER, env: { ...env, NODE_ID: id } }),
  );
});

afterAll(async () => {
  await writer?.stop();
  await Promise.all([relay, ...consumers].map((process) => process.stop()));
  await Promise.all([postgres.stop(), nats.stop()]);
});

const sql = async <Row>(text: string): Promise<Row[]> => (await queryOnce(postgres.url, text)) as Row[];

/** mulberry32: the same numbers from 0 to 1 for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Kills one of the processes with -9 every 1.5 to 3 s; each is started again at once. */
async function wreakHavoc(random: () => number): Promise<number> {
  const killNats = async (): Promise<void> => {
    await nats.kill();
    await nats.restart();
  };
  const kills = [() => relay.kill(), killNats, ...consumers.map((consumer) => () => consumer.kill())];
  const endsAt = performance.now() + SECONDS * 1000;
  let count = 0;
  while (performance.now() < endsAt) {
    await sleep(1500 + 1500 * random());
    await kills[Math.floor(random() * kills.length)]?.();
    count += 1;
  }
  return count;
}

interface Effect {
  event_id: string;
  subject: string;
  version: number;
  nickname: string | null;
}

const effects = (): Promise<Effect[]> =>
  sql<Effect>("SELECT event_id, subject, version, nickname FROM public.effects ORDER BY position");

const NO_FAULTS = { lost: 0, repeated: 0, unfounded: 0, disordered: 0, deadLetters: 0, failures: [] };

/** What is wrong with the effects, compared with what was committed. */
async function faultsOf({ versions, failures }: ChaosWriter): Promise<typeof NO_FAULTS> {
  const all = await effects();
  const ids = new Set(all.map(({ event_id }) => event_id));
  const bySubject = Map.groupBy(all, ({ subject }) => subject);
  const missing = [...versions].map(([subject, version]) => {
    const seen = new Set(bySubject.get(subject)?.map((effect) => effect.version));
    return Array.from({ length: version }, (_, index) => index + 1).filter((each) => !seen.has(each)).length;
  });
  const isUnfounded = ({ subject, version, nickname }: Effect): boolean =>
    version > (versions.get(subject) ?? 0) || nickname?.startsWith(ROLLED_BACK) === true;
  const isDisordered = (of: Effect[]): boolean =>
    of.some(({ version }, index) => version <= (of[index - 1]?.version ?? 0));
  const [letters] = await sql<{ count: number }>("SELECT count(*)::integer FROM events.dead_letter");
  return {
    lost: missing.reduce((sum, count) => sum + count, 0),
    repeated: all.length - ids.size,
    unfounded: all.filter(isUnfounded).length,
    disordered: [...bySubject.values()].filter(isDisordered).length,
    deadLetters: letters?.count ?? NaN,
    failures: failures as never[],
  };
}

/** Waits until no message of the stream waits for the consumer, nor for its acknowledgement. */
async function untilDrained(): Promise<void> {
  const connection = await connect({ servers: nats.url });
  try {
    const manager = await connection.jetstreamManager();
    await waitFor(
      async () => {
        // Those of the consumer, one for each type of event, and not of who has just read the stream.
        const all = await manager.consumers.list("EVENTS").next();
        const waiting = all
          .filter(({ name }) => name.startsWith("chaos_"))
          .map(({ num_pending, num_ack_pending }) => num_pending + num_ack_pending);
        return waiting.length > 0 && waiting.every((count) => count === 0);
      },
      { description: "the consumer to be drained", timeoutMs: DRAIN_MS, intervalMs: 100 },
    );
  } finally {
    await connection.close();
  }
}

test(
  `under ${SECONDS} s of kill -9 of relay, consumers and NATS, every committed event has its effect once and in order`,
  async () => {
    writer = await ChaosWriter.start(postgres.url, TRANSACTIONS_PER_SECOND);
    const kills = await wreakHavoc(randomOf(SEED));
    const rate = await writer.stop();
    const { committed, rolledBack } = writer;
    const stoppedAt = performance.now();
    const count = async (): Promise<number> =>
      (await sql<{ count: number }>("SELECT count(*)::integer FROM public.effects"))[0]?.count ?? 0;
    await waitFor(async () => (await count()) >= committed, {
      description: `${committed} effects (seed ${SEED})`,
      timeoutMs: DRAIN_MS,
      intervalMs: 100,
    }).catch(() => undefined);
    const drainMs = Math.round(performance.now() - stoppedAt);
    await untilDrained();

    const figures = { seed: SEED, rate: Math.round(rate), kills, committed, rolledBack, drainMs };
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    expect({ ...figures, ...(await faultsOf(writer)) }).toEqual({ ...figures, ...NO_FAULTS });
    expect(rolledBack).toBeGreaterThan(0);
    expect(rate).toBeGreaterThanOrEqual(MIN_TRANSACTIONS_PER_SECOND);
    expect(drainMs).toBeLessThan(DRAIN_MS);
  },
  (SECONDS + 300) * 1000,
);

test("a stream that is deleted is filled again by a replay, and no effect changes", async () => {
  const before = await effects();
  const stream = readStream(nats.url);
  await stream.remove();

  const { exitCode, output } = await runRollcall({
    program: "replay-command.ts",
    args: ["--from", "1"],
    env: { DATABASE_URL: postgres.url },
  });
  expect([exitCode, output]).toEqual([0, expect.stringContaining("are published again")]);
  const messages = await stream.atLeast(before.length, DRAIN_MS);
  await waitFor(async () => untilDrained().then(() => true), {
    description: "the consumer",
    timeoutMs: DRAIN_MS,
  });

  expect(new Set(messages.map(({ event }) => event.id))).toEqual(
    new Set(before.map(({ event_id }) => event_id)),
  );
  expect(await effects()).toEqual(before);
});
