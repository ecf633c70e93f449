import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { EventConsumers } from "../support/event-consumers.ts";
import { waitFor } from "../support/wait-for.ts";

/** While nodes are replaced, instances of two versions share the work. */
describe.each([
  ["a durable consumer on JetStream", { useNats: true }],
  ["a durable consumer on the log", { useNats: false }],
])("%s", (_, options) => {
  let events: EventConsumers;

  beforeAll(async () => {
    events = await EventConsumers.start(options);
  });

  afterAll(() => events.stop());

  const untilRegistered = (consumer: string, types: number): Promise<unknown> =>
    waitFor(
      async () =>
        (await events.sql("SELECT FROM events.subscription WHERE consumer = $1", [consumer])).length ===
        types,
      { description: "the consumer to be registered" },
    );

  test("leaves events of a type that an older instance does not know to the newer ones", async () => {
    const name = `consumer-${randomUUID()}`;
    await events.instance({ name, events: ["user-created_v1"], startFrom: "now" }, "older");
    await untilRegistered(name, 1);
    await events.instance({ name, events: ["user-created_v1", "user-deleted_v1"] }, "newer");
    await untilRegistered(name, 2);

    const subjects = Array.from({ length: 30 }, () => randomUUID());
    const deleted = await events.append(subjects, "user-deleted_v1");
    const created = await events.append(subjects, "user-created_v1");

    const effects = await events.untilEffects(name, deleted.length + created.length);
    for (const subject of subjects) {
      expect(effects.filter((effect) => effect.subject === subject).map(({ eventId }) => eventId)).toEqual(
        [...deleted, ...created].filter((event) => event.subject === subject).map(({ id }) => id),
      );
    }
  });
});
