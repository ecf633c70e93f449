import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import type { EventPage, ListEvents } from "../../services/events/events.contract.ts";
import { appendToLog, expireLog } from "../support/event-log.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";

const SUBJECT = "01890a5d-9c2e-7f41-8d3a-5b1c2d3e4f50";

/** What NATS takes at most. */
const NATS_LIMIT_BYTES = 1_048_576;

let nodes: TestNodes;
let caller: ServiceBroker;

beforeAll(async () => {
  nodes = await startTestNodes();
  await nodes.start({ SERVICES: "events", NODE_ID: "events" });
  ({ broker: caller } = await nodes.start({ SERVICES: "none", NODE_ID: "caller" }));
});

beforeEach(async () => {
  await nodes.sql("TRUNCATE events.log");
  await nodes.sql("UPDATE events.relay SET head = 0, published = 0");
});

afterAll(() => nodes.stop());

const list = (query: Partial<ListEvents> = {}): Promise<EventPage> => call(caller, "events.list", query);
const sequencesOf = ({ data }: EventPage): number[] => data.map(({ sequence }) => Number(sequence));
const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

/** Reads page after page until the end of the log. */
async function readAll(query: Partial<ListEvents>): Promise<number[]> {
  const seen: number[] = [];
  for (let after = query.after ?? 0; ;) {
    const page = await list({ ...query, after });
    seen.push(...sequencesOf(page));
    if (page.nextAfter === page.lastSequence) return seen;
    after = page.nextAfter;
  }
}

describe("events.list", () => {
  test("gives events in the order of the log, and says where to go on", async () => {
    await appendToLog(nodes, 5);
    const first = await list({ limit: 3 });
    expect(sequencesOf(first)).toEqual([1, 2, 3]);
    expect(first).toMatchObject({ nextAfter: 3, lastSequence: 5 });
    const second = await list({ limit: 3, after: 3 });
    expect(sequencesOf(second)).toEqual([4, 5]);
    expect(second).toMatchObject({ nextAfter: 5, lastSequence: 5 });
    expect(await list({ after: 5 })).toEqual({ data: [], nextAfter: 5, lastSequence: 5 });
  });

  test("gives nothing of an empty log", async () => {
    expect(await list()).toEqual({ data: [], nextAfter: 0, lastSequence: 0 });
  });

  test.each([1, 7, 100, 1000])("gives each event once in pages of %d", async (limit) => {
    await appendToLog(nodes, 150);
    expect(await readAll({ limit })).toEqual(range(1, 150));
  });

  test("goes on past the events that a filter leaves out", async () => {
    await appendToLog(nodes, 40, {
      type: "CASE n % 10 WHEN 0 THEN 'user-created_v1' ELSE 'user-updated_v1' END",
    });
    const page = await list({ types: ["user-created_v1"] });
    expect(sequencesOf(page)).toEqual([10, 20, 30, 40]);
    const rare = await list({ types: ["user-erased_v1", "user-deleted_v1"], after: 7 });
    expect(rare).toEqual({ data: [], nextAfter: 40, lastSequence: 40 });
  });

  test("gives what is of one of the types, in the order of the log", async () => {
    const types = "(ARRAY['user-created_v1', 'user-deleted_v1', 'user-erased_v1'])[n % 3 + 1]";
    await appendToLog(nodes, 60, { type: types });
    const wanted = range(1, 60).filter((n) => n % 3 !== 1);
    expect(await readAll({ types: ["user-erased_v1", "user-created_v1"], limit: 7 })).toEqual(wanted);
  });

  test("gives what is about one subject, of any type or of some", async () => {
    const type = "CASE n % 2 WHEN 0 THEN 'user-created_v1' ELSE 'user-updated_v1' END";
    await appendToLog(nodes, 60, {
      type,
      subject: `CASE n % 3 WHEN 0 THEN '${SUBJECT}'::uuid ELSE gen_random_uuid() END`,
    });
    const about = range(1, 60).filter((n) => n % 3 === 0);
    expect(await readAll({ subject: SUBJECT, limit: 4 })).toEqual(about);
    expect(await readAll({ subject: SUBJECT, types: ["user-created_v1"], limit: 4 })).toEqual(
      about.filter((n) => n % 2 === 0),
    );
  });

  test("gives shorter pages of large events, so that they fit into a message of NATS", async () => {
    const data = "jsonb_build_object('bio', repeat('ä', 30000))";
    await appendToLog(nodes, 40, { data });
    const page = await list({ limit: 1000 });
    expect(Buffer.byteLength(JSON.stringify(page))).toBeLessThan(NATS_LIMIT_BYTES);
    expect(page.data.length).toBeLessThan(40);
    expect(page.nextAfter).toBe(page.data.length);
    expect(await readAll({ limit: 1000 })).toEqual(range(1, 40));
  });

  test("gives a thousand small events at once", async () => {
    await appendToLog(nodes, 1000);
    expect(sequencesOf(await list({ limit: 1000 }))).toEqual(range(1, 1000));
  });

  test("gives an event alone that is larger than a page", async () => {
    await appendToLog(nodes, 2, { data: "jsonb_build_object('bio', repeat('x', 900000))" });
    expect(sequencesOf(await list({ after: 0 }))).toEqual([1]);
    expect(sequencesOf(await list({ after: 1 }))).toEqual([2]);
  });

  test("leaves no gap while events are appended and expire", async () => {
    await appendToLog(nodes, 10);
    const total = 600;
    const seen: number[] = [];
    const write = async (): Promise<void> => {
      for (let head = 10; head < total; head += 10) {
        await appendToLog(nodes, 10);
        // All that the reader has; what it asks for now has to stay, however slow it is.
        await expireLog(nodes, seen.length);
      }
    };
    const read = async (): Promise<void> => {
      while (seen.length < total) seen.push(...sequencesOf(await list({ after: seen.length, limit: 50 })));
    };
    await Promise.all([write(), read()]);
    expect(seen).toEqual(range(1, total));
  });
});

describe("a position that the log does not have", () => {
  test("is refused as expired when events after it were deleted, with the first one that is left", async () => {
    await appendToLog(nodes, 20);
    await expireLog(nodes, 10);
    await expect(list({ after: 9 })).rejects.toMatchObject({
      type: "EVENTS_EXPIRED",
      code: 410,
      message: expect.stringContaining("begins at 11;") as unknown,
    });
    await expect(list({ after: 0, types: ["user-created_v1"] })).rejects.toMatchObject({
      type: "EVENTS_EXPIRED",
    });
    expect(sequencesOf(await list({ after: 10 }))).toEqual(range(11, 20));
    expect(sequencesOf(await list())).toEqual(range(11, 20));
  });

  test("is expired too when all events are", async () => {
    await appendToLog(nodes, 20);
    await expireLog(nodes, 20);
    await expect(list({ after: 19 })).rejects.toMatchObject({ type: "EVENTS_EXPIRED" });
    expect(await list({ after: 20 })).toEqual({ data: [], nextAfter: 20, lastSequence: 20 });
    expect(await list()).toEqual({ data: [], nextAfter: 20, lastSequence: 20 });
  });

  test("is refused when it is beyond the end, as after the loss of a part of the log", async () => {
    await appendToLog(nodes, 20);
    await expect(list({ after: 21 })).rejects.toMatchObject({
      type: "VALIDATION_FAILED",
      data: { errors: [{ field: "after", rule: "range" }] },
    });
  });
});

describe("a query that is not valid", () => {
  test.each([
    ["after", { after: -1 }],
    ["after", { after: 1.5 }],
    ["limit", { limit: 0 }],
    ["limit", { limit: 1001 }],
    ["types[0]", { types: ["user-created"] }],
    ["types", { types: [] }],
    ["types", { types: ["user-created_v1", "user-created_v1"] }],
    ["subject", { subject: "ada" }],
    ["order", { order: "desc" }],
  ])("is refused with %s named: %j", async (field, query) => {
    await expect(caller.call("events.list", query)).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: [{ field }],
    });
  });
});
