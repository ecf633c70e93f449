import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { REPL_COMMANDS, toReplCommand } from "../../bootstrap/repl-commands.ts";
import { appendToLog } from "../support/event-log.ts";
import { relayState } from "../support/outbox-rows.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const ID = "01890a5d-9c2e-7f41-8d3a-5b1c2d3e4f50";

let nodes: TestNodes;
/** Of a node that only looks, over NATS. */
let broker: ServiceBroker;

beforeAll(async () => {
  nodes = await startTestNodes();
  await nodes.start({ SERVICES: "events,cache", NODE_ID: "events" });
  ({ broker } = await nodes.start({ SERVICES: "none", NODE_ID: "console" }));
  await waitFor(async () => (await relayState(nodes)).leader === "events", {
    description: "the relay to lead",
  });
});

beforeEach(async () => {
  await nodes.sql("TRUNCATE events.dead_letter");
});

afterAll(() => nodes.stop());

/** Runs a command and returns what it shows; tables as their rows. */
async function run(
  name: string,
  params: { what?: string; namespace?: string; options?: object } = {},
): Promise<unknown[]> {
  const shown: unknown[] = [];
  const show = (value: unknown): void => void shown.push(value);
  for (const method of ["log", "error", "table"] as const)
    jest.spyOn(console, method).mockImplementation(show);
  const command = REPL_COMMANDS.find((each) => each.command.split(" ")[0] === name);
  await command?.action(broker, { options: {}, ...params });
  jest.restoreAllMocks();
  return shown;
}

async function insertDeadLetters(count: number, consumer: string): Promise<void> {
  await nodes.sql(
    `INSERT INTO events.dead_letter (consumer, event_id, sequence, type, subject, event, error_type, error_message,
       attempts, first_failed_at, last_failed_at)
     SELECT $2, id, n, 'user-created_v1', '${ID}',
       jsonb_build_object('id', id, 'type', 'user-created_v1', 'subject', '${ID}'),
       'TypeError', 'of no use', 5, now(), '2030-01-31T12:00:00Z'::timestamptz + n * interval '1 s'
     FROM generate_series(1, $1) AS series (n), LATERAL (SELECT gen_random_uuid() AS id WHERE n > 0) AS new`,
    [count, consumer],
  );
}

describe("a line", () => {
  test.each([
    ["events status", "events:status"],
    ["  events  dead-letters --consumer mailer", "events:dead-letters --consumer mailer"],
    ["events replay 5", "events:replay 5"],
    ["cache purge users.get", "cache:purge users.get"],
    ["images reconcile --fix", "images:reconcile --fix"],
    ["cache keys", "cache keys"],
    ["events", "events"],
    ["events --details", "events --details"],
    ["call events.status", "call events.status"],
  ])("%j means %j", (line, meaning) => {
    expect(toReplCommand(line)).toBe(meaning);
  });
});

test("events status shows how far the relay is", async () => {
  expect(await run("events:status")).toMatchObject([{ pending: 0, leader: "events" }]);
});

test("cache stats shows what the caches have done, cache purge and warm what they did", async () => {
  expect(await run("cache:stats")).toEqual([expect.any(Array), "Of 2 nodes, since the start of each."]);
  expect(await run("cache:purge", { namespace: "none.such" })).toEqual([
    expect.stringContaining("VALIDATION_FAILED"),
  ]);
  expect(await run("cache:warm")).toEqual(["0 users are cached."]);
});

describe("events dead-letters", () => {
  test("lists them, and says how to see more", async () => {
    await insertDeadLetters(21, "mailer");
    const [rows, more] = (await run("events:dead-letters")) as [{ "last failed": string }[], string];
    expect(rows).toHaveLength(20);
    expect(rows[0]).toMatchObject({
      type: "user-created_v1",
      subject: ID,
      consumer: "mailer",
      attempts: 5,
      error: "TypeError: of no use",
      "last failed": "2030-01-31T12:00:21.000Z",
    });
    const [, cursor = ""] = /--cursor (\S+)$/.exec(more) ?? [];
    expect(await run("events:dead-letters", { options: { cursor } })).toMatchObject([
      [{ "last failed": "2030-01-31T12:00:01.000Z" }],
      "These are all.",
    ]);
  });

  test("lists those of one consumer", async () => {
    await insertDeadLetters(2, "mailer");
    await insertDeadLetters(1, "search");
    const [rows] = await run("events:dead-letters", { options: { consumer: "search" } });
    expect(rows).toMatchObject([{ consumer: "search" }]);
    expect(await run("events:dead-letters", { options: { consumer: "other" } })).toEqual([
      "There are no dead letters.",
    ]);
  });
});

describe("events replay", () => {
  test("with a sequence number publishes from there on again", async () => {
    await appendToLog(nodes, 5);
    expect(await run("events:replay", { what: "3" })).toEqual(["The events 3 to 5 are published again."]);
    expect(await run("events:replay", { what: "99" })).toEqual([
      "Nothing that was published from there on is left in the log.",
    ]);
  });

  test("with the id of an event retries its dead letters", async () => {
    await insertDeadLetters(1, "mailer");
    const { id } = await nodes.sqlOne<{ id: string }>("SELECT event_id AS id FROM events.dead_letter");
    expect(await run("events:replay", { what: id, options: { consumer: "search" } })).toEqual([
      `DEAD_LETTER_NOT_FOUND: There is no dead letter of the event '${id}'.`,
    ]);
    expect(await run("events:replay", { what: id })).toEqual(["Consumers that try the event again: 1."]);
    expect(await nodes.sql("SELECT 1 FROM events.dead_letter WHERE replay_requested_at IS NULL")).toEqual([]);
  });

  test("with anything else says what is wrong", async () => {
    expect(await run("events:replay", { what: "soon" })).toEqual([
      "VALIDATION_FAILED: The 'id' field must be a valid UUID.",
    ]);
  });
});
