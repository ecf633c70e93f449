import { randomUUID } from "node:crypto";

import { expect, test } from "@jest/globals";

import { describeDurableConsumers } from "../support/consumer-sources.ts";
import type { ConsumerOptions, Effect, Instance, TestDelivery } from "../support/event-consumers.ts";
import { waitFor } from "../support/wait-for.ts";

const newName = (): string => `consumer-${randomUUID()}`;
const newSubjects = (count: number): string[] => Array.from({ length: count }, () => randomUUID());
const eventsOf = (effects: readonly Effect[]): string[] => effects.map(({ eventId }) => eventId);

describeDurableConsumers((events) => {
  const subscribedTypes = async (consumer: string): Promise<string[]> => {
    const rows = await events().sql<{ type: string }>(
      "SELECT type FROM events.subscription WHERE consumer = $1 ORDER BY type",
      [consumer],
    );
    return rows.map(({ type }) => type);
  };
  const untilSubscribed = (consumer: string, types: readonly string[]): Promise<unknown> =>
    waitFor(async () => (await subscribedTypes(consumer)).join() === types.join(), {
      description: `the consumer to be subscribed to ${types.join(" and ")}`,
    });
  const ALL = ["user-created_v1", "user-deleted_v1", "user-updated_v1"] as const;

  /** An instance that begins with what comes from now on. */
  async function start(settings: ConsumerOptions, instance?: string): Promise<Instance> {
    const started = await events().instance({ startFrom: "now", ...settings }, instance);
    await events().untilRegistered(settings.name);
    return started;
  }

  test("counts no attempt in which a service was away, and handles the event when it is back", async () => {
    const name = newName();
    const instance = await start({
      name,
      maxDeliver: 1,
      handler: ({ event, call }) => call("users.delete", { id: event.subject }),
    });
    const appended = await events().append(newSubjects(2));
    await waitFor(async () => (await instance.metric("events_consumer_outages_total")) >= 4, {
      description: "each event to have met the outage twice",
    });
    instance.broker.createService({ name: "users", actions: { delete: () => undefined } });

    const effects = await events().untilEffects(name, 2);

    expect(eventsOf(effects).toSorted()).toEqual(appended.map(({ id }) => id).toSorted());
    expect(await instance.metric("events_consumer_failures_total")).toBe(0);
    expect(await events().sql("SELECT FROM events.dead_letter WHERE consumer = $1", [name])).toEqual([]);
  });

  test("counts the failures before and after an outage, but not the outage", async () => {
    const name = newName();
    const errors = [new Error("first"), Object.assign(new Error("away"), { retryable: true })];
    await start({
      name,
      maxDeliver: 2,
      handler: () => Promise.reject(errors.shift() ?? new Error("last")),
    });
    await events().append(newSubjects(1));

    const find = () =>
      events().sql("SELECT attempts, error_message FROM events.dead_letter WHERE consumer = $1", [name]);
    await waitFor(async () => (await find()).length > 0, { description: "a dead letter" });
    expect(await find()).toEqual([{ attempts: 2, error_message: "last" }]);
  });

  test("keeps whatever a handler throws, also what PostgreSQL could not", async () => {
    const name = newName();
    const thrown: unknown[] = [
      new Error("nul\0 and more"),
      "text",
      null,
      undefined,
      Object.assign(Object.create(null), { type: 5 }),
    ];
    const handler = ({ event }: TestDelivery): Promise<void> =>
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- it is what some handlers do
      Promise.reject(thrown[subjects.indexOf(event.subject)]);
    await start({ name, maxDeliver: 1, handler });
    const subjects = newSubjects(thrown.length);
    await events().append(subjects);

    const find = () =>
      events().sql(
        "SELECT error_type, error_message FROM events.dead_letter WHERE consumer = $1 ORDER BY sequence",
        [name],
      );
    await waitFor(async () => (await find()).length === thrown.length, { description: "dead letters" });
    expect(await find()).toEqual([
      { error_type: "Error", error_message: "nul and more" },
      { error_type: "Error", error_message: "text" },
      { error_type: "Error", error_message: "null" },
      { error_type: "Error", error_message: "undefined" },
      { error_type: "5", error_message: "[Object: null prototype] { type: 5 }" },
    ]);
  });

  test("tries events that have failed together again together", async () => {
    const name = newName();
    const subjects = newSubjects(4);
    const failed = new Set<string>();
    const entered = new Set<string>();
    const allEntered = Promise.withResolvers<void>();
    const instance = await start({
      name,
      concurrency: subjects.length,
      async handler({ event }: TestDelivery) {
        if (!failed.has(event.subject)) {
          failed.add(event.subject);
          throw new Error("not yet");
        }
        entered.add(event.subject);
        if (entered.size === subjects.length) allEntered.resolve();
        await allEntered.promise;
      },
    });

    await events().append(subjects);

    // One at a time, the first would wait for the others for ever.
    await events().untilEffects(name, subjects.length);
    expect(await instance.metric("events_consumer_failures_total")).toBe(subjects.length);
  });

  test("counts a replay that never ends as failed, and goes on with the next", async () => {
    const name = newName();
    let isReplay = false;
    const handler = async ({ event }: TestDelivery): Promise<void> => {
      if (!isReplay) throw new Error("not yet");
      if (event.subject === stuck) await new Promise(() => undefined);
    };
    const [stuck = "", other = ""] = newSubjects(2);
    const { broker } = await start({ name, handler, maxDeliver: 1, timeout: 2000 });
    await events().append([stuck, other]);
    const letters = () =>
      events().sql<{ subject: string; error_type: string; replayed_at: Date | null }>(
        "SELECT * FROM events.dead_letter WHERE consumer = $1 ORDER BY sequence",
        [name],
      );
    await waitFor(async () => (await letters()).length === 2, { description: "two dead letters" });

    isReplay = true;
    await events().sql("UPDATE events.dead_letter SET replay_requested_at = now() WHERE consumer = $1", [
      name,
    ]);
    await broker.broadcastLocal("dead-letter-replay-requested", {});
    await events().untilEffects(name, 1);

    expect(await letters()).toMatchObject([
      { subject: stuck, error_type: "HANDLER_TIMEOUT", replayed_at: null },
      { subject: other, replayed_at: expect.any(Date) as unknown },
    ]);
  });

  test("replays a dead letter only while no other event of its resource is handled", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    const gate = Promise.withResolvers<void>();
    let attempts = 0;
    let running = 0;
    let mostRunning = 0;
    const { broker } = await start({
      name,
      maxDeliver: 1,
      timeout: 20_000,
      async handler({ event }) {
        attempts += 1;
        if (attempts === 1) throw new Error("not now");
        running += 1;
        mostRunning = Math.max(mostRunning, running);
        if (event.type === "user-deleted_v1") await gate.promise;
        running -= 1;
      },
    });
    const [dead] = await events().append([subject]);
    const [held] = await events().append([subject], "user-deleted_v1");
    await waitFor(() => running === 1, { description: "the second event to be held" });

    const [letter] = await events().sql<{ at: Date }>(
      `UPDATE events.dead_letter SET replay_requested_at = now() WHERE consumer = $1
       RETURNING last_failed_at AS at`,
      [name],
    );
    await broker.broadcastLocal("dead-letter-replay-requested", {});
    await waitFor(
      async () => {
        const [now] = await events().sql<{ at: Date }>(
          `SELECT last_failed_at AS at FROM events.dead_letter
           WHERE consumer = $1 AND replay_requested_at IS NOT NULL`,
          [name],
        );
        return now !== undefined && now.at > (letter?.at ?? now.at);
      },
      { description: "the replay to be tried and given back" },
    );
    gate.resolve();

    expect(eventsOf(await events().untilEffects(name, 2))).toEqual([held?.id, dead?.id]);
    expect(mostRunning).toBe(1);
    expect(await events().sql("SELECT attempts FROM events.dead_letter WHERE consumer = $1", [name])).toEqual(
      [{ attempts: 2 }],
    );
  });

  test("keeps the types that newer instances handle when an older one starts again", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    await start({ name, events: ALL }, "newer");
    await untilSubscribed(name, ALL);

    const older = await start({ name, events: ["user-created_v1"] }, "older");
    await older.stop();
    await start({ name, events: ["user-created_v1"] }, "older");
    const [deleted] = await events().append([subject], "user-deleted_v1");
    const [created] = await events().append([subject], "user-created_v1");

    const effects = await events().untilEffects(name, 2);
    expect(eventsOf(effects)).toEqual([deleted?.id, created?.id]);
    expect(await subscribedTypes(name)).toEqual(ALL);
  });

  test("forgets a type that none of its instances has handled for a while", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    const wider = await start({ name, events: ALL }, "wider");
    await untilSubscribed(name, ALL);
    await wider.stop();
    await events().sql(
      "UPDATE events.subscription SET seen_at = now() - interval '2 minutes' WHERE consumer = $1",
      [name],
    );
    await start({ name, events: ["user-created_v1"] }, "narrower");
    await untilSubscribed(name, ["user-created_v1"]);

    await events().append([subject], "user-deleted_v1");
    const [created] = await events().append([subject], "user-created_v1");

    expect(eventsOf(await events().untilEffects(name, 1))).toEqual([created?.id]);
  });
});
