import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { connect } from "nats";

import type { RunningNode } from "../../bootstrap/running-node.ts";
import { call } from "../../lib/contracts.ts";
import { newId } from "../../lib/ids.ts";
import { EventStream } from "../../services/events/event-stream.ts";
import { capturingLogger } from "../support/capturing-logger.ts";
import { readStream } from "../support/event-stream.ts";
import { startNats } from "../support/nats.ts";
import { appendEvents, untilAllPublished } from "../support/outbox-rows.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

const { log, entries } = capturingLogger();
let nodes: TestNodes;
let node: RunningNode;

beforeAll(async () => {
  nodes = await startTestNodes();
  node = await nodes.start({ SERVICES: "events", NODE_ID: "events", EVENTS_POLL_INTERVAL_MS: "50" }, log);
});

afterAll(() => nodes.stop());

test("an event that is too large for NATS is published with a reference to its data, and holds nothing up", async () => {
  const [large, next] = [newId(), newId()];
  await nodes.sql(
    `INSERT INTO events.outbox (id, type, subject, data, actor, request_id, changed_fields, occurred_at)
     VALUES (gen_random_uuid(), 'user-updated_v1', $1,
       jsonb_build_object('id', $1::uuid, 'version', 1, 'bio', repeat('x', 1100000)), 'test', 'test', '{}', now())`,
    [large],
  );
  await appendEvents(nodes, [large, next], 1);
  await untilAllPublished(nodes);

  const messages = (await readStream(nodes.nats.url).messages()).map(({ event }) => event);
  // Only events of one subject keep their order.
  const reference = messages.find(({ subject }) => subject === large);
  expect(messages.map(({ subject }) => subject).toSorted()).toEqual([large, large, next].toSorted());
  expect(reference).toMatchObject({
    specversion: "1.0",
    type: "user-updated_v1",
    sequence: "0000000000000001",
    dataref: "/api/v1/events?after=0&limit=1",
  });
  expect(reference).not.toHaveProperty("data");
  const page = await call(node.broker, "events.list", { after: 0, limit: 1 });
  expect(page.data).toMatchObject([{ id: reference?.id, data: { id: large, version: 1 } }]);
});

test("an event that cannot be moved to the log is reported once, and so is that events are moved again", async () => {
  const linesWith = (msg: string) => entries.filter((entry) => entry.msg === msg);
  await appendEvents(nodes, [newId()], 1);
  await untilAllPublished(nodes);
  await nodes.sql(
    `INSERT INTO events.outbox (id, type, subject, data, actor, request_id, changed_fields, occurred_at)
     SELECT id, type, subject, data, actor, request_id, changed_fields, occurred_at FROM events.log LIMIT 1`,
  );
  await waitFor(() => linesWith("events cannot be moved to the log").length > 0, {
    description: "the error",
  });
  await nodes.sql("DELETE FROM events.outbox");
  await waitFor(() => linesWith("events are moved to the log again").length > 0, { description: "its end" });

  expect(linesWith("events cannot be moved to the log")).toMatchObject([
    { level: 50, err: { message: expect.stringContaining("log_id_key") as unknown } },
  ]);
});

test("a NATS without JetStream is named as the reason why nothing is published, with what to do", async () => {
  const nats = await startNats();
  const connection = await connect({ servers: nats.url });
  try {
    const options = { connection: () => connection, isUp: () => true, replicas: 1, retentionDays: 1 };
    const { error } = await new EventStream(options).publish([], () => true);
    expect(error?.message).toBe("NATS has no JetStream. Start its servers with -js.");
  } finally {
    await connection.close();
    await nats.stop();
  }
});
