import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { connect } from "nats";

import { newId } from "../../lib/ids.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { readStream } from "../support/event-stream.ts";
import { appendEvents, relayState, untilAllPublished } from "../support/outbox-rows.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;

beforeEach(async () => {
  nodes = await startTestNodes();
});

afterEach(() => nodes.stop());

/** Writes to the outbox that these were erased. */
const appendErasures = (type: "user-erased_v1" | "image-deleted_v1", subjects: readonly string[]) =>
  nodes.sql(
    `INSERT INTO events.outbox (id, type, subject, data, actor, request_id, changed_fields, occurred_at)
     SELECT gen_random_uuid(), $1, subject, jsonb_build_object('id', subject, 'version', 2), 'test', 'test', '{}', now()
     FROM unnest($2::uuid[]) AS subject`,
    [type, subjects],
  );

/** Makes the stream, which then refuses to delete messages. */
async function createStubbornStream(): Promise<void> {
  const connection = await connect({ servers: nodes.nats.url });
  const { streams } = await connection.jetstreamManager();
  await streams.add({ name: "EVENTS", subjects: ["events.>"], deny_delete: true });
  await connection.close();
}

test("a thousand that come together are done, without a failure", async () => {
  const { log, entries } = capturingLogger();
  await nodes.start({ SERVICES: "events" }, log);
  const subjects = Array.from({ length: 1000 }, newId);
  await appendEvents(nodes, subjects, 1);
  await appendErasures("image-deleted_v1", subjects);
  await untilAllPublished(nodes, 60_000);

  const left = await readStream(nodes.nats.url).messages();
  expect(new Set(left.map(({ event }) => event.type))).toEqual(new Set(["image-deleted_v1"]));
  expect(left).toHaveLength(1000);
  // That a server was slow to answer, on a busy machine, is no failure.
  const failures = entries.filter(({ level, dependency }) => level >= 40 && dependency === undefined);
  expect(failures).toEqual([]);
});

test("one that the stream refuses holds up no other event, and is done by who leads later", async () => {
  await createStubbornStream();
  const stream = readStream(nodes.nats.url);
  const [erased, others] = [newId(), Array.from({ length: 1100 }, newId)];
  const first = await nodes.start({ SERVICES: "events" });
  await appendEvents(nodes, [erased], 1);
  await appendErasures("user-erased_v1", [erased]);
  await appendEvents(nodes, others, 1);
  await stream.atLeast(2 + others.length, 60_000);
  await waitFor(async () => (await relayState(nodes)).published > 0, {
    description: "the first to be noted",
  });
  await first.stop();
  expect((await relayState(nodes)).published).toBe(1);

  await stream.remove();
  await nodes.start({ SERVICES: "events" });
  await untilAllPublished(nodes, 60_000);
  const events = (await stream.messages()).map(({ event }) => event);
  expect(events.filter(({ subject }) => subject === erased)).toMatchObject([{ type: "user-erased_v1" }]);
  expect(events).toHaveLength(1 + others.length);
});
