import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";

import type { RunningNode } from "../../bootstrap/running-node.ts";
import { call } from "../../lib/contracts.ts";
import type { Statement } from "../../lib/database-connection.ts";
import { newId } from "../../lib/ids.ts";
import { replay } from "../../services/events/events.repository.ts";
import { RELAY_LOCK } from "../../services/events/relay-session.ts";
import { readStream, sequencesOf, versionsBySubject, type StreamReader } from "../support/event-stream.ts";
import { metricsPortOf } from "../support/metrics-port.ts";
import { APPEND_EVENTS, appendEvents, relayState, untilAllPublished } from "../support/outbox-rows.ts";
import { newUser } from "../support/rest-client.ts";
import { runRollcall } from "../support/rollcall-process.ts";
import { refuseEventsOf, storedEvents } from "../support/stored-rows.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

/** Long: what is tested has to be woken, not to look by itself. */
const SETTINGS = { EVENTS_POLL_INTERVAL_MS: "60000" };

let nodes: TestNodes;
let events: RunningNode;
let users: RunningNode;
let stream: StreamReader;

beforeAll(async () => {
  nodes = await startTestNodes();
  stream = readStream(nodes.nats.url);
  [events, users] = await Promise.all([
    nodes.start({ SERVICES: "events", NODE_ID: "events", METRICS_PORT: "0", ...SETTINGS }),
    nodes.start({ SERVICES: "users", NODE_ID: "users" }),
  ]);
});

afterAll(() => nodes.stop());

const untilPublished = () => untilAllPublished(nodes);

/** Tells the relay, as a unit of work does. */
const wakeRelay = () => nodes.sql("SELECT pg_notify('events_outbox', '')");

describe("a change", () => {
  test("is published as one CloudEvent under the id of its subject", async () => {
    const user = await call(users.broker, "users.create", newUser(), { requestID: "a-request" });
    await untilPublished();

    const [message, ...others] = (await stream.messages()).filter(({ event }) => event.subject === user.id);
    const { sequence, id } = await nodes.sqlOne<{ sequence: number; id: string }>(
      `SELECT sequence::integer, id FROM events.log WHERE subject = '${user.id}'`,
    );
    expect(others).toEqual([]);
    expect(message).toEqual({
      subject: `events.user-created_v1.${user.id}`,
      messageId: id,
      event: {
        specversion: "1.0",
        id,
        source: "/rollcall/users",
        type: "user-created_v1",
        subject: user.id,
        time: user.createdAt,
        datacontenttype: "application/json",
        data: user,
        sequence: String(sequence).padStart(16, "0"),
        actor: expect.any(String),
        requestid: "a-request",
        changedfields: "email,firstName,lastName,nickname,country,bio",
      },
    });
  });

  test("that is rolled back is neither logged nor published", async () => {
    const requestID = `refused-${randomUUID()}`;
    await refuseEventsOf(nodes, "refused-");
    await expect(call(users.broker, "users.create", newUser(), { requestID })).rejects.toMatchObject({
      type: "INTERNAL_ERROR",
    });
    const after = await call(users.broker, "users.create", newUser());
    await untilPublished();

    const requests = (await stream.messages()).map(({ event }) => event.requestid);
    expect(requests).not.toContain(requestID);
    expect((await storedEvents(nodes)).map(({ requestId }) => requestId)).not.toContain(requestID);
    expect(versionsBySubject(await stream.messages()).get(after.id)).toEqual([1]);
  });

  test("is told to all nodes when it is in the log", async () => {
    const seen: number[] = [];
    users.broker.createService({
      name: "listener",
      events: {
        "events-appended": (ctx: { params: { sequence: number } }) => void seen.push(ctx.params.sequence),
      },
    });
    await waitFor(() => events.broker.registry.events.getAllEndpoints("events-appended").length > 0, {
      description: "the listener to be known",
    });
    await call(users.broker, "users.create", newUser());
    await untilPublished();
    const { head } = await relayState(nodes);
    // One about events of before may come first.
    await expect(
      waitFor(() => seen.at(-1) === head, { description: "the event events-appended" }),
    ).resolves.toBe(true);
  });
});

describe("the order", () => {
  test("of the changes of one user is kept while many users are changed at the same time", async () => {
    const created = await Promise.all(
      Array.from({ length: 10 }, () => call(users.broker, "users.create", newUser())),
    );
    const change = async (id: string): Promise<void> => {
      for (let n = 0; n < 10; n += 1) await call(users.broker, "users.update", { id, lastName: `Name ${n}` });
    };
    await Promise.all(created.map(({ id }) => change(id)));
    await untilPublished();

    const versions = versionsBySubject(await stream.messages());
    for (const { id } of created) expect(versions.get(id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  test("of a large backlog is kept, and each event is there once", async () => {
    const subjects = Array.from({ length: 7 }, newId);
    await appendEvents(nodes, subjects, 500);
    await wakeRelay();
    await untilPublished();

    const versions = versionsBySubject(await stream.messages());
    const all = Array.from({ length: 500 }, (_, index) => index + 1);
    for (const subject of subjects) expect(versions.get(subject)).toEqual(all);
  });
});

describe("the sequence", () => {
  test("has no gap, and what is committed late is not skipped", async () => {
    const [late, early] = [newId(), newId()];
    const transaction = await nodes.openTransaction([APPEND_EVENTS, [[late], 1]]);
    await appendEvents(nodes, [early], 1);
    await wakeRelay();
    await waitFor(async () => versionsBySubject(await stream.messages()).has(early), {
      description: "the event that was committed first to be published",
    });
    await transaction.commit();
    await wakeRelay();
    await untilPublished();

    const { head } = await relayState(nodes);
    const sequences = await nodes.sql<{ sequence: number }>(
      "SELECT sequence::integer FROM events.log ORDER BY sequence",
    );
    expect(sequences.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: head }, (_, index) => index + 1),
    );
    expect(versionsBySubject(await stream.messages()).get(late)).toEqual([1]);
  });

  test("has no gap under concurrent writers of which some roll back", async () => {
    const before = (await relayState(nodes)).head;
    const write = async (n: number): Promise<void> => {
      const transaction = await nodes.openTransaction([APPEND_EVENTS, [[newId()], 3]]);
      await (n % 4 === 0 ? transaction.rollback() : transaction.commit());
    };
    const writing = Promise.all(Array.from({ length: 40 }, (_, n) => write(n)));
    for (let n = 0; n < 10; n += 1) await wakeRelay();
    await writing;
    await wakeRelay();
    await untilPublished();

    const { head, published } = await relayState(nodes);
    expect(head).toBe(before + 30 * 3);
    expect(published).toBe(head);
    const sequences = sequencesOf(await stream.messages());
    expect(sequences.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: head }, (_, index) => index + 1),
    );
  });
});

describe("what the relay has not confirmed", () => {
  /** How many messages the relay has sent that were confirmed, also those that the stream knew. */
  const countSent = async (): Promise<number> => {
    const { text } = await metricsPortOf(events).scrape();
    return Number(/^events_published_total (\d+)$/m.exec(text)?.[1]);
  };

  test("is sent again, and the stream keeps it once", async () => {
    await appendEvents(nodes, [newId()], 20);
    await wakeRelay();
    await untilPublished();
    const [before, sent] = [await stream.messages(), await countSent()];
    // As if the relay had ended between the answer of the stream and its own note of it.
    await nodes.sql(
      `WITH behind AS (UPDATE events.relay SET published = published - 15)
       SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database
       WHERE datname = current_database() AND locktype = 'advisory'
         AND (classid::bigint << 32) + objid::bigint = ${RELAY_LOCK}`,
    );
    await untilPublished();

    expect((await countSent()) - sent).toBeGreaterThanOrEqual(15);
    expect(await stream.messages()).toEqual(before);
  });
});

describe("a replay", () => {
  test("fills a stream that was deleted with the same events in the same order", async () => {
    await untilPublished();
    const before = await stream.messages();
    await stream.remove();

    const { head } = await relayState(nodes);
    expect(await call(users.broker, "events.replay", { from: 1 })).toEqual({ from: 1, to: head });
    await untilPublished();

    const after = await stream.messages();
    const bySequence = (messages: typeof before) =>
      messages.map(({ event }) => event).toSorted((a, b) => a.sequence.localeCompare(b.sequence));
    expect(bySequence(after)).toEqual(bySequence(before));
    expect(versionsBySubject(after)).toEqual(versionsBySubject(before));
  });

  test("from the command line goes through although the stream knows the events", async () => {
    await appendEvents(nodes, [newId()], 5);
    await wakeRelay();
    await untilPublished();
    const before = await stream.messages();
    const { head } = await relayState(nodes);

    const { exitCode, output } = await runRollcall({
      program: "replay-command.ts",
      args: ["--from", String(head - 2)],
      env: { DATABASE_URL: nodes.databaseUrl },
    });
    expect([exitCode, output]).toEqual([0, `The events ${head - 2} to ${head} are published again.\n`]);
    await untilPublished();

    const after = await stream.messages();
    expect(after.slice(before.length).map(({ event }) => event)).toEqual(
      before.slice(-3).map(({ event }) => event),
    );
  });

  test("that comes while events are on their way sends those again too, after the ones before them", async () => {
    const subject = newId();
    await appendEvents(nodes, [subject], 3);
    await wakeRelay();
    await untilPublished();
    const { head } = await relayState(nodes);
    await nodes.sql("UPDATE events.relay SET head = head + 1");

    // The relay has sent the next event, and cannot write down yet that it has.
    const client = new pg.Client(nodes.databaseUrl);
    await client.connect();
    await client.query("BEGIN");
    await client.query("SELECT FROM events.relay FOR UPDATE");
    await nodes.sql(
      `INSERT INTO events.log (sequence, id, type, subject, data, actor, request_id, changed_fields, occurred_at)
       VALUES ($1, gen_random_uuid(), 'user-updated_v1', $2, '{"version": 4}', 'test', 'test', '{lastName}', now())`,
      [head + 1, subject],
    );
    await wakeRelay();
    await nodes.untilBlocked(1);
    const transaction = {
      query: async (statement: Statement, values: unknown[]) =>
        (await client.query<never>({ ...statement, values })).rows,
    };
    const again = await replay(transaction, head - 2);
    await client.query("COMMIT");
    await client.end();
    await untilPublished();

    expect(again).toEqual({ from: head - 2, to: head + 1 });
    expect(versionsBySubject(await stream.messages()).get(subject)).toEqual([1, 2, 3, 4, 1, 2, 3, 4]);
  });

  test("of what was never published does nothing", async () => {
    const { head } = await relayState(nodes);
    expect(await call(users.broker, "events.replay", { from: head + 1 })).toBeNull();
    const { exitCode, output } = await runRollcall({
      program: "replay-command.ts",
      args: ["--from", String(head + 1)],
      env: { DATABASE_URL: nodes.databaseUrl },
    });
    expect([exitCode, output]).toEqual([
      1,
      `Nothing that was published from ${head + 1} on is left in the log.\n`,
    ]);
  });

  test.each([[[]], [["--from"]], [["--from", "0"]], [["--from", "1e3"]], [["--to", "3"]]])(
    "with the words %j says how it is used",
    async (args) => {
      const { exitCode, output } = await runRollcall({ program: "replay-command.ts", args });
      expect([exitCode, output]).toEqual([1, "Usage: npm run events:replay -- --from SEQUENCE\n"]);
    },
  );
});

describe("the status", () => {
  test("says how far the relay is, from any node", async () => {
    await untilPublished();
    const { head } = await relayState(nodes);
    expect(await call(users.broker, "events.status", {})).toEqual({
      pending: 0,
      oldestPendingSeconds: 0,
      head,
      published: head,
      leader: "events",
      leaderSince: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      streamMessages: (await stream.messages()).length,
    });
  });

  test("is shown to Prometheus", async () => {
    await untilPublished();
    const { text } = await metricsPortOf(events).scrape();
    for (const line of [
      "events_outbox_pending 0",
      "events_outbox_oldest_age_seconds 0",
      "events_log_unpublished 0",
      "events_relay_is_leader 1",
    ])
      expect(text).toContain(`\n${line}\n`);
    expect(text).toMatch(/\nevents_published_total [1-9]\d*\n/);
    expect(text).toMatch(/\nevents_publish_failures_total \d+\n/);
  });
});
