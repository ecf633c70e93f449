import { randomUUID } from "node:crypto";

import { afterEach, expect, test } from "@jest/globals";

import { EventConsumers } from "../support/event-consumers.ts";
import { supervise, type Supervised } from "../support/supervised.ts";
import { waitFor } from "../support/wait-for.ts";

let events: EventConsumers;
let consumer: Supervised;

afterEach(async () => {
  await consumer.stop();
  await events.stop();
});

test.each([
  ["on JetStream", { useNats: true }],
  ["on the log", { useNats: false }],
])(
  "an event that ends the process of its durable consumer %s becomes a dead letter, and the others pass",
  async (_, options) => {
    events = await EventConsumers.start(options);
    const { databaseUrl, nats } = events;
    const sql = events.sql.bind(events);
    const [subject, other] = [randomUUID(), randomUUID()];
    const [poison] = await events.append([subject], "user-deleted_v1");
    const harmless = await events.append([subject, other]);

    consumer = supervise({
      program: "../test/support/crashing-consumer.ts",
      env: { DATABASE_URL: databaseUrl, SECRET: "0".repeat(32), ...(nats && { NATS_URL: nats.url }) },
    });

    await waitFor(async () => (await sql("SELECT FROM public.effects")).length === 2, {
      description: "the other events to be handled",
      timeoutMs: 120_000,
      intervalMs: 100,
    });
    expect(
      await sql("SELECT event_id AS id, sequence::float8, subject FROM public.effects ORDER BY sequence"),
    ).toEqual(
      harmless.map(({ id, sequence }, index) => ({ id, sequence, subject: [subject, other][index] })),
    );
    expect(await sql("SELECT event_id, error_type, attempts FROM events.dead_letter")).toEqual([
      { event_id: poison?.id, error_type: "PROCESS_ENDED", attempts: 2 },
    ]);
  },
);
