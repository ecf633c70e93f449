import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, expect, test } from "@jest/globals";

import { capturingLogger } from "../support/capturing-logger.ts";
import { queryOnce } from "../support/databases.ts";
import { EventConsumers, type Instance, type TestDelivery } from "../support/event-consumers.ts";
import { sharedServers } from "../support/shared-servers.ts";
import { waitFor } from "../support/wait-for.ts";

interface Letter {
  readonly attempts: number;
  readonly error_message: string;
  readonly is_requested: boolean;
  readonly is_replayed: boolean;
}

const name = "replays";
const { log, entries } = capturingLogger();
let events: EventConsumers;
let instance: Instance;
/** What the consumer does with the next event. */
let handler: (delivery: TestDelivery) => Promise<unknown>;

beforeAll(async () => {
  events = await EventConsumers.start({ useNats: false });
  const options = { name, maxDeliver: 1, handler: (delivery: TestDelivery) => handler(delivery) };
  instance = await events.instance(options, "one", log);
});

afterAll(() => events.stop());

/** The dead letter about a subject. */
async function letterOf(subject: string): Promise<Letter | undefined> {
  const [letter] = await events.sql<Letter>(
    `SELECT attempts, error_message, replay_requested_at IS NOT NULL AS is_requested,
       replayed_at IS NOT NULL AS is_replayed
     FROM events.dead_letter WHERE subject = $1`,
    [subject],
  );
  return letter;
}

/** A new subject with an event that was given up. */
async function givenUp(): Promise<string> {
  const subject = randomUUID();
  handler = () => Promise.reject(new Error("not yet"));
  await events.append([subject]);
  await waitFor(() => letterOf(subject), { description: "a dead letter" });
  return subject;
}

async function requestReplay(subject: string): Promise<void> {
  await events.sql("UPDATE events.dead_letter SET replay_requested_at = now() WHERE subject = $1", [subject]);
  await instance.broker.broadcastLocal("dead-letter-replay-requested", {});
}

/** Ends all sessions of the consumer as a server does that is shut down, and takes no new ones while `work` runs. */
async function withoutDatabase(work: () => Promise<unknown>): Promise<void> {
  const { pathname } = new URL(events.databaseUrl);
  const allow = (isAllowed: boolean) =>
    queryOnce(
      sharedServers().postgresAdminUrl,
      `ALTER DATABASE "${pathname.slice(1)}" ALLOW_CONNECTIONS ${isAllowed}`,
    );
  await allow(false);
  await events.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()`,
  );
  await work();
  await allow(true);
}

/** Waits until what became of a replay could not be written. */
async function untilNotWritten(): Promise<void> {
  const notWritten = () => entries.filter(({ msg }) => msg.startsWith("what became of a replay")).length;
  const before = notWritten();
  await waitFor(() => notWritten() > before, { description: "a write to fail" });
}

/** Replays a dead letter, and lets its handler fail while there is no database. */
async function failWithoutDatabase(subject: string, error: Error): Promise<void> {
  const started = Promise.withResolvers<void>();
  const failed = Promise.withResolvers<never>();
  handler = () => {
    started.resolve();
    return failed.promise;
  };
  await requestReplay(subject);
  await started.promise;
  await withoutDatabase(async () => {
    handler = async () => undefined;
    failed.reject(error);
    await untilNotWritten();
  });
}

test("a replay that fails by an outage is tried again, also when the database was away then, and is no attempt", async () => {
  const subject = await givenUp();

  await failWithoutDatabase(subject, Object.assign(new Error("away"), { retryable: true }));

  await events.untilEffects(name, 1);
  expect(await letterOf(subject)).toMatchObject({ attempts: 2, is_requested: false, is_replayed: true });
});

test("a replay that fails when the database is away says why when that is back", async () => {
  const subject = await givenUp();

  await failWithoutDatabase(subject, new Error("still not"));

  await waitFor(async () => (await letterOf(subject))?.error_message === "still not", {
    description: "the failure to be written",
  });
  expect(await letterOf(subject)).toMatchObject({ attempts: 2, is_requested: false, is_replayed: false });
});

test("a replay that fails says nothing of a subject that is erased meanwhile", async () => {
  const subject = await givenUp();
  let erasing: Promise<unknown> = Promise.resolve();
  handler = async () => {
    erasing = events.sql(
      `UPDATE events.dead_letter SET error_message = '', event = jsonb_set(event, '{data}', '{}')
       WHERE subject = $1`,
      [subject],
    );
    // Another connection, as that of `events` waits for the dead letter.
    const waiting =
      "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    await waitFor(async () => (await queryOnce(events.databaseUrl, waiting)).length === 1, {
      description: "the erasure to wait",
    });
    throw new Error("ada@example.com was refused");
  };
  const tried = () => entries.filter(({ msg }) => msg === "a dead letter was not handled again").length;
  const before = tried();
  await requestReplay(subject);

  await waitFor(() => tried() > before, { description: "the replay to fail" });
  await erasing;
  await instance.stop();
  expect(await letterOf(subject)).toMatchObject({ attempts: 2, error_message: "" });
});
