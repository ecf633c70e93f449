import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { connect } from "nats";

import { call } from "../../lib/contracts.ts";
import { newId } from "../../lib/ids.ts";
import { readStream } from "../support/event-stream.ts";
import { appendEvents, relayState, untilAllPublished } from "../support/outbox-rows.ts";
import { newUser } from "../support/rest-client.ts";
import { startTestNodes, type Settings, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;

beforeEach(async () => {
  nodes = await startTestNodes();
});

afterEach(() => nodes.stop());

const WITHOUT_NATS = { NATS_URL: "" };

async function untilLogged(count: number): Promise<void> {
  await waitFor(async () => (await relayState(nodes)).head >= count, {
    description: `${count} events to be in the log`,
  });
}

/** Makes what was published up to an event as old as this. */
const age = (days: number, upTo: number) =>
  nodes.sql(
    `INSERT INTO events.published_mark (sequence, reached_at) VALUES ($2, now() - make_interval(days => $1))
     ON CONFLICT (sequence) DO UPDATE SET reached_at = excluded.reached_at`,
    [days, upTo],
  );

async function loggedSequences(): Promise<number[]> {
  const rows = await nodes.sql<{ sequence: number }>(
    "SELECT sequence::integer FROM events.log ORDER BY sequence",
  );
  return rows.map(({ sequence }) => sequence);
}

/** Lets a node move some events to the log. */
async function logEvents(count: number): Promise<void> {
  const { head } = await relayState(nodes);
  const node = await nodes.start({ SERVICES: "events", ...WITHOUT_NATS });
  await appendEvents(nodes, [newId()], count);
  await untilLogged(head + count);
  await node.stop();
}

/** Lets a node delete once what is too old. */
async function retainOnce(settings: Settings = {}): Promise<void> {
  await nodes.sql(
    `INSERT INTO events.idempotency (principal, action, key, fingerprint, result, subject, expires_at)
     VALUES ('test', 'test', 'deleted last', '', '{}', gen_random_uuid(), now())`,
  );
  const node = await nodes.start({ SERVICES: "events", ...settings });
  await waitFor(async () => (await nodes.sql("SELECT FROM events.idempotency")).length === 0, {
    description: "what is too old to be deleted",
  });
  await node.stop();
}

async function marks(): Promise<number[]> {
  const rows = await nodes.sql<{ sequence: number }>(
    "SELECT sequence::integer FROM events.published_mark ORDER BY sequence",
  );
  return rows.map(({ sequence }) => sequence);
}

describe("without NATS", () => {
  test("events go into the log, are announced to the services of the node, and wait to be published", async () => {
    const { broker } = await nodes.start({ SERVICES: "users,events", ...WITHOUT_NATS });
    const announced: number[] = [];
    broker.createService({
      name: "listener",
      events: {
        "events-appended": (ctx: { params: { sequence: number } }) =>
          void announced.push(ctx.params.sequence),
      },
    });
    const { id } = await call(broker, "users.create", newUser());
    await untilLogged(1);

    await waitFor(() => announced.length > 0, { description: "the announcement" });
    expect(announced).toEqual([1]);
    expect(await call(broker, "events.status", {})).toMatchObject({
      pending: 0,
      head: 1,
      published: 0,
      streamMessages: null,
    });
    expect((await call(broker, "events.list", {})).data).toMatchObject([
      { subject: id, type: "user-created_v1" },
    ]);
  });

  test("what was logged is published when a node with NATS comes", async () => {
    const alone = await nodes.start({ SERVICES: "events", ...WITHOUT_NATS });
    await appendEvents(nodes, [newId()], 3);
    await untilLogged(3);
    await alone.stop();

    await nodes.start({ SERVICES: "events" });
    await untilAllPublished(nodes);
    expect(await readStream(nodes.nats.url).messages()).toHaveLength(3);
  });
});

describe("retention", () => {
  test("deletes what is too old from the start of the log, and numbers go on", async () => {
    const first = await nodes.start({ SERVICES: "events", ...WITHOUT_NATS });
    await appendEvents(nodes, [newId()], 2500);
    await untilLogged(2500);
    await first.stop();
    await age(31, 2300);

    await nodes.start({ SERVICES: "events", ...WITHOUT_NATS });
    await waitFor(async () => (await loggedSequences()).length === 200, {
      description: "old events to be gone",
    });
    await appendEvents(nodes, [newId()], 1);
    await untilLogged(2501);
    expect(await loggedSequences()).toEqual(Array.from({ length: 201 }, (_, index) => 2301 + index));
  });

  test.each([
    { days: 6, left: [1, 2, 3, 4, 5, 6], noted: [5, 6] },
    { days: 8, left: [6], noted: [6] },
  ])("of 7 days goes by when events were published: $days days ago", async ({ days, left, noted }) => {
    await logEvents(5);
    await retainOnce(WITHOUT_NATS);
    expect(await marks()).toEqual([5]);
    await age(days, 5);
    await logEvents(1);

    await retainOnce({ EVENT_LOG_RETENTION_DAYS: "7", ...WITHOUT_NATS });
    expect(await loggedSequences()).toEqual(left);
    expect(await marks()).toEqual(noted);
  });

  test("keeps what is not published, however old", async () => {
    const alone = await nodes.start({ SERVICES: "events", ...WITHOUT_NATS });
    await appendEvents(nodes, [newId()], 5);
    await untilLogged(5);
    await alone.stop();
    await age(100, 5);

    await nodes.start({ SERVICES: "events" });
    await untilAllPublished(nodes);
    expect(await readStream(nodes.nats.url).messages()).toHaveLength(5);
  });

  test("keeps events that waited for longer than it keeps any, once they are published", async () => {
    await appendEvents(nodes, [newId()], 5);
    await nodes.sql("UPDATE events.outbox SET occurred_at = now() - interval '100 days'");
    const first = await nodes.start({ SERVICES: "events" });
    await untilAllPublished(nodes);
    await first.stop();

    await retainOnce();
    expect(await loggedSequences()).toEqual([1, 2, 3, 4, 5]);
  });
});

test("what is too old in the other tables of the schema is deleted too, and nothing else", async () => {
  const deadLetter = (consumer: string, since: string, requested: string) =>
    nodes.sql(
      `INSERT INTO events.dead_letter (consumer, event_id, sequence, type, subject, event, error_type, error_message,
         attempts, first_failed_at, last_failed_at, replay_requested_at)
       VALUES ($1, gen_random_uuid(), 1, 'user-updated_v1', gen_random_uuid(), '{}', '', '', 1, now(),
         now() - $2::interval, ${requested})`,
      [consumer, since],
    );
  const result = (key: string, expiry: string) =>
    nodes.sql(
      `INSERT INTO events.idempotency (principal, action, key, fingerprint, result, subject, expires_at)
       VALUES ('user:1', 'users.create', $1, '', '{}', gen_random_uuid(), now() + $2::interval)`,
      [key, expiry],
    );
  await deadLetter("old", "8 days", "NULL");
  await deadLetter("old-but-wanted", "8 days", "now()");
  await deadLetter("young", "6 days", "NULL");
  await result("expired", "-1 second");
  await result("valid", "1 hour");

  await nodes.start({ SERVICES: "events", DEAD_LETTER_RETENTION_DAYS: "7", ...WITHOUT_NATS });

  const left = async (): Promise<string[]> => {
    const rows = await nodes.sql<{ name: string }>(
      "SELECT consumer AS name FROM events.dead_letter UNION ALL SELECT key FROM events.idempotency ORDER BY name",
    );
    return rows.map(({ name }) => name);
  };
  await waitFor(async () => (await left()).length === 3, { description: "the old rows to be gone" });
  expect(await left()).toEqual(["old-but-wanted", "valid", "young"]);
});

describe("the stream", () => {
  test("is kept as long as the log, also after the setting has changed", async () => {
    const maxAgeDays = async (): Promise<number> => {
      const connection = await connect({ servers: nodes.nats.url, reconnect: false });
      try {
        const { config } = await (await connection.jetstreamManager()).streams.info("EVENTS");
        return config.max_age / (86_400 * 1e9);
      } finally {
        await connection.close();
      }
    };
    const first = await nodes.start({ SERVICES: "events" });
    await appendEvents(nodes, [newId()], 1);
    await untilAllPublished(nodes);
    expect(await maxAgeDays()).toBe(30);
    await first.stop();

    await nodes.start({ SERVICES: "events", EVENT_LOG_RETENTION_DAYS: "7" });
    await waitFor(async () => (await maxAgeDays()) === 7, { description: "the stream to be changed" });
    expect(await readStream(nodes.nats.url).messages()).toHaveLength(1);
  });
});
