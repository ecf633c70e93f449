import { randomUUID } from "node:crypto";

import { expect, test } from "@jest/globals";

import { describeDurableConsumers } from "../support/consumer-sources.ts";
import type { ConsumerOptions } from "../support/event-consumers.ts";

/** While nodes are replaced, instances of two versions share the work. */
describeDurableConsumers((events) => {
  test("leaves events of a type that an older instance does not know to the newer ones", async () => {
    const name = `consumer-${randomUUID()}`;
    await events().instance({ name, events: ["user-created_v1"], startFrom: "now" }, "older");
    await events().untilRegistered(name);
    await events().instance({ name, events: ["user-created_v1", "user-deleted_v1"] }, "newer");
    await events().untilRegistered(name, 2);

    const subjects = Array.from({ length: 30 }, () => randomUUID());
    const deleted = await events().append(subjects, "user-deleted_v1");
    const created = await events().append(subjects, "user-created_v1");

    const effects = await events().untilEffects(name, deleted.length + created.length);
    for (const subject of subjects) {
      expect(effects.filter((effect) => effect.subject === subject).map(({ eventId }) => eventId)).toEqual(
        [...deleted, ...created].filter((event) => event.subject === subject).map(({ id }) => id),
      );
    }
  });

  test("keeps for newer instances what older ones do not handle, when both were stopped", async () => {
    const name = `consumer-${randomUUID()}`;
    let isBroken = true;
    const newer: ConsumerOptions = {
      name,
      events: ["user-created_v1", "user-deleted_v1"],
      startFrom: "now",
      maxDeliver: 1000,
      handler: async ({ event }) => {
        if (isBroken && event.type === "user-deleted_v1") throw new Error("not yet");
      },
    };
    const instances = [
      await events().instance({ name, events: ["user-created_v1"], startFrom: "now" }, "older"),
      await events().instance(newer, "newer"),
    ];
    await events().untilRegistered(name, 2);

    const [deleted] = await events().append([randomUUID()], "user-deleted_v1");
    const [created] = await events().append([randomUUID()], "user-created_v1");
    await events().untilEffects(name, 1);
    for (const instance of instances) await instance.stop();
    isBroken = false;
    await events().instance(newer, "newer");

    const effects = await events().untilEffects(name, 2);
    expect(effects.map(({ eventId }) => eventId)).toEqual([created?.id, deleted?.id]);
  });
});
