import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { expect, test } from "@jest/globals";
import type { Context } from "moleculer";

import { describeDurableConsumers } from "../support/consumer-sources.ts";
import type { Appended, Effect, Instance, TestDelivery } from "../support/event-consumers.ts";
import { waitFor } from "../support/wait-for.ts";

const newSubjects = (count: number): string[] => Array.from({ length: count }, () => randomUUID());
const newName = (): string => `consumer-${randomUUID()}`;
const idsOf = (events: readonly Appended[]): string[] => events.map(({ id }) => id);
const eventsOf = (effects: readonly Effect[]): string[] => effects.map(({ eventId }) => eventId);
const of = <T extends { subject: string }>(items: readonly T[], subject: string): T[] =>
  items.filter((item) => item.subject === subject);

/** A handler that fails with the events of one subject until it is mended. */
function failing(subject: string, isMended: (times: number) => boolean | Promise<boolean> = () => false) {
  const failedAt: number[] = [];
  return {
    failedAt,
    handler: async ({ event, transaction }: TestDelivery): Promise<void> => {
      if (event.subject !== subject || (await isMended(failedAt.length))) return;
      failedAt.push(performance.now());
      // What it writes before it fails must not stay.
      await transaction.query({ text: "INSERT INTO public.effects (consumer) VALUES ('half done')" }, []);
      throw Object.assign(new Error("the mail server refused it"), { type: "MAIL_REFUSED" });
    },
  };
}

/** A handler that waits, with its transaction open, until it is let go. */
function gated() {
  const gate = Promise.withResolvers<void>();
  const entered: string[] = [];
  return {
    entered,
    open: gate.resolve,
    handler: async ({ event }: TestDelivery): Promise<void> => {
      entered.push(event.id);
      await gate.promise;
    },
  };
}

describeDurableConsumers((events) => {
  const deadLetters = (consumer: string) =>
    events().sql<{
      event: { id: string };
      attempts: number;
      replayed_at: Date | null;
      error_message: string;
    }>("SELECT * FROM events.dead_letter WHERE consumer = $1 ORDER BY sequence", [consumer]);
  const untilDeadLetters = (consumer: string, count: number): Promise<unknown> =>
    waitFor(async () => (await deadLetters(consumer)).length === count, {
      description: `${count} dead letters`,
    });

  test("handles the events of each resource once, in their order", async () => {
    const name = newName();
    const subjects = newSubjects(5);
    const instance = await events().instance({ name });

    const appended = await events().append(Array.from({ length: 20 }, () => subjects).flat());

    const effects = await events().untilEffects(name, appended.length);
    expect(effects).toHaveLength(appended.length);
    for (const subject of subjects) {
      expect(eventsOf(of(effects, subject))).toEqual(idsOf(of(appended, subject)));
    }
    await events().untilNothingWaits(instance);
    expect(await counted(instance, "events_consumed_total", appended.length)).toBe(appended.length);
  });

  test("gives its handler the event as it was recorded", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    const seen: unknown[] = [];
    await events().instance({ name, startFrom: "now", handler: async ({ event }) => seen.push(event) });
    await events().untilRegistered(name);

    const [appended] = await events().append([subject], "user-created_v1");

    await events().untilEffects(name, 1);
    expect(seen).toEqual([
      expect.objectContaining({
        specversion: "1.0",
        id: appended?.id,
        type: "user-created_v1",
        subject,
        data: { id: subject },
        sequence: String(appended?.sequence).padStart(16, "0"),
        requestid: `request-${appended?.sequence}`,
      }),
    ]);
  });

  test("tries an event again that failed, before the later events of its resource", async () => {
    const name = newName();
    const [subject = "", other = ""] = newSubjects(2);
    const areOthersDone = async (): Promise<boolean> => (await events().effects(name)).length >= 2;
    const { handler, failedAt } = failing(subject, async (times) => times >= 2 && (await areOthersDone()));
    const again = { backoff: [200], maxDeliver: 1000 };
    const instance = await events().instance({ name, handler, startFrom: "now", ...again });
    await events().untilRegistered(name);

    const appended = await events().append([subject, subject, other, subject, other]);

    const effects = await events().untilEffects(name, 5);
    expect(eventsOf(of(effects, subject))).toEqual(idsOf(of(appended, subject)));
    expect(eventsOf(of(effects, other))).toEqual(idsOf(of(appended, other)));
    // Other resources do not wait for it, as it waits for them.
    expect(eventsOf(effects).slice(0, 2)).toEqual(idsOf(of(appended, other)));
    expect(await events().effects("half done")).toEqual([]);
    expect(await instance.metric("events_consumer_failures_total")).toBe(failedAt.length);
  });

  test("waits longer after each failure, as it was told", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    const { handler, failedAt } = failing(subject, (times) => times === 3);
    const backoff = [100, 400, 800];
    await events().instance({ name, handler, startFrom: "now", maxDeliver: 4, backoff });
    await events().untilRegistered(name);

    await events().append([subject]);
    await events().untilEffects(name, 1);

    const [first = 0, second = 0, third = 0] = failedAt;
    // A fifth less is the spread; later is no fault.
    expect(second - first).toBeGreaterThanOrEqual(80);
    expect(third - second).toBeGreaterThanOrEqual(320);
    expect(performance.now() - third).toBeGreaterThanOrEqual(640);
  });

  test("gives a poisonous event up after its attempts, and lets the others pass", async () => {
    const name = newName();
    const [subject = "", other = ""] = newSubjects(2);
    let poison: string | undefined;
    const instance = await events().instance({
      name,
      startFrom: "now",
      async handler({ event }) {
        if (event.subject === subject) poison ??= event.id;
        if (event.id === poison) throw Object.assign(new TypeError("no such field"), { type: "POISON" });
      },
    });
    await events().untilRegistered(name);
    const appended = await events().append([subject, subject, other]);

    const effects = await events().untilEffects(name, 2);
    await untilDeadLetters(name, 1);

    expect(new Set(eventsOf(effects))).toEqual(new Set(idsOf(appended.slice(1))));
    expect(await deadLetters(name)).toEqual([
      expect.objectContaining({
        event_id: appended[0]?.id,
        type: "user-updated_v1",
        subject,
        event: expect.objectContaining({ specversion: "1.0", id: appended[0]?.id, data: { id: subject } }),
        error_type: "POISON",
        error_message: "no such field",
        attempts: 3,
        replayed_at: null,
      }),
    ]);
    expect(await counted(instance, "events_dead_letters_total", 1)).toBe(1);
    await events().untilNothingWaits(instance);
  });

  test("delivers a dead letter again when that is asked for, and once only", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    const { handler } = failing(subject, (times) => times === 4);
    const instance = await events().instance({ name, handler, startFrom: "now", backoff: [1] });
    await events().untilRegistered(name);
    const appended = await events().append([subject]);
    await untilDeadLetters(name, 1);

    await askForReplay(name);
    await waitFor(async () => (await deadLetters(name))[0]?.attempts === 4, {
      description: "the replay to fail",
    });
    expect(await events().effects(name)).toEqual([]);
    await askForReplay(name);
    await events().untilEffects(name, 1);
    await askForReplay(name);
    await events().giveOutAgain();
    await events().untilNothingWaits(instance);

    expect(eventsOf(await events().effects(name))).toEqual(idsOf(appended));
    expect(await deadLetters(name)).toEqual([
      expect.objectContaining({ attempts: 5, replayed_at: expect.any(Date), replay_requested_at: null }),
    ]);

    async function askForReplay(consumer: string): Promise<void> {
      await events().sql(
        `UPDATE events.dead_letter SET replay_requested_at = now() WHERE consumer = $1 AND replayed_at IS NULL`,
        [consumer],
      );
      await instance.broker.broadcastLocal("dead-letter-replay-requested", {});
    }
  });

  test("does nothing twice when every event is given out again, to it and after it was away", async () => {
    const name = newName();
    const subjects = newSubjects(10);
    const first = await events().instance({ name, startFrom: "now" });
    await events().untilRegistered(name);
    const appended = await events().append([...subjects, ...subjects]);
    await events().untilEffects(name, appended.length);

    await events().giveOutAgain();
    await events().untilNothingWaits(first);
    await first.stop();
    await events().giveOutAgain();
    const second = await events().instance({ name });
    await events().untilNothingWaits(second);

    expect((await events().effects(name)).length).toBe(appended.length);
  });

  test("goes on where it was after it was away", async () => {
    const name = newName();
    const subjects = newSubjects(3);
    const first = await events().instance({ name, startFrom: "now" });
    await events().untilRegistered(name);
    const before = await events().append(subjects);
    await events().untilEffects(name, before.length);
    await first.stop();

    const after = await events().append([...subjects, ...subjects]);
    await events().instance({ name, startFrom: "now" }, "two");

    const effects = await events().untilEffects(name, before.length + after.length);
    expect(effects).toHaveLength(before.length + after.length);
    for (const subject of subjects) {
      expect(eventsOf(of(effects, subject))).toEqual(idsOf(of([...before, ...after], subject)));
    }
  });

  test("counts failures from before it was away", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    const { handler, failedAt } = failing(subject);
    const first = await events().instance({ name, handler, startFrom: "now", backoff: [300] });
    await events().untilRegistered(name);
    await events().append([subject]);
    await waitFor(async () => (await failures(name)) >= 1, { description: "a failure" });
    await first.stop();

    await events().instance({ name, handler }, "two");
    await untilDeadLetters(name, 1);

    expect(failedAt).toHaveLength(3);
  });

  test("begins with the oldest event of the log, or with what comes from now on", async () => {
    const [all, fresh] = [newName(), newName()];
    const subjects = newSubjects(2);
    const old = await events().append(subjects);
    const instances = [
      await events().instance({ name: all, startFrom: "beginning" }),
      await events().instance({ name: fresh, startFrom: "now" }),
    ];
    await Promise.all([events().untilRegistered(all), events().untilRegistered(fresh)]);

    const young = await events().append(subjects);
    for (const instance of instances) await events().untilNothingWaits(instance);

    expect(eventsOf(await events().effects(fresh)).toSorted()).toEqual(idsOf(young).toSorted());
    expect(eventsOf(await events().effects(all))).toEqual(expect.arrayContaining(idsOf([...old, ...young])));
  });

  test("handles only the events it was told to, and those of a type that is added later from then on", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    const first = await events().instance({ name, events: ["user-created_v1"], startFrom: "now" });
    await events().untilRegistered(name);
    const [created] = await events().append([subject], "user-created_v1");
    await events().append([subject], "user-deleted_v1");
    await events().untilEffects(name, 1);
    await first.stop();

    const wider = { name, events: ["user-created_v1", "user-deleted_v1"] } as const;
    const second = await events().instance(wider, "two");
    await events().untilRegistered(name, 2);
    const [deleted] = await events().append([subject], "user-deleted_v1");

    const effects = await events().untilEffects(name, 2);
    await events().untilNothingWaits(second);
    expect(eventsOf(effects)).toEqual([created?.id, deleted?.id]);
  });

  test("shares its work between instances, and keeps the order of each resource", async () => {
    const name = newName();
    const subjects = newSubjects(20);
    const handler = () => sleep(5);
    const instances = await Promise.all(
      ["one", "two"].map((instance) => events().instance({ name, handler, startFrom: "now" }, instance)),
    );
    await events().untilRegistered(name);
    // One that begins later than the other would find nothing left.
    const early: Appended[] = [];
    const doAllTakePart = async (): Promise<boolean> => {
      early.push(...(await events().append(newSubjects(10))));
      return new Set((await events().effects(name)).map(({ instance }) => instance)).size === 2;
    };
    await waitFor(doAllTakePart, { description: "both instances to take part" });

    const appended = await events().append(Array.from({ length: 10 }, () => subjects).flat());

    const effects = await events().untilEffects(name, early.length + appended.length);
    expect(effects).toHaveLength(early.length + appended.length);
    for (const subject of subjects) {
      expect(eventsOf(of(effects, subject))).toEqual(idsOf(of(appended, subject)));
    }
    for (const instance of ["one", "two"]) {
      const share = effects.filter((effect) => effect.instance === instance).length;
      expect(share).toBeGreaterThan(effects.length / 10);
    }
    for (const instance of instances) await events().untilNothingWaits(instance);
  });

  test("leaves an event that it handles for long to itself", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    let runs = 0;
    // Longer than JetStream waits for an acknowledgement.
    const handler = async ({ transaction }: TestDelivery): Promise<void> => {
      runs += 1;
      for (let second = 0; second < 7; second += 1)
        await transaction.query({ text: "SELECT pg_sleep(1)" }, []);
    };
    await Promise.all(
      ["one", "two"].map((instance) => events().instance({ name, handler, startFrom: "now" }, instance)),
    );
    await events().untilRegistered(name);

    await events().append([subject]);
    await events().untilEffects(name, 1);

    expect(runs).toBe(1);
  });

  test("lets a handler wait for something else for longer than a statement may take", async () => {
    const name = newName();
    let runs = 0;
    const handler = async (): Promise<void> => {
      runs += 1;
      // The default of DATABASE_STATEMENT_TIMEOUT_MS is 3 s.
      await sleep(3500);
    };
    await events().instance({ name, handler, startFrom: "now" });
    await events().untilRegistered(name);

    await events().append(newSubjects(1));
    await events().untilEffects(name, 1);

    expect(runs).toBe(1);
  });

  test("counts a handler that never ends as failed, and goes on with the others", async () => {
    const name = newName();
    const [subject = "", other = ""] = newSubjects(2);
    const handler = ({ event }: TestDelivery): Promise<void> =>
      event.subject === subject ? new Promise(() => undefined) : Promise.resolve();
    const once = { startFrom: "now", concurrency: 1, maxDeliver: 1 } as const;
    await events().instance({ name, handler, timeout: 2000, ...once });
    await events().untilRegistered(name);

    const appended = await events().append([subject, other]);

    expect(eventsOf(await events().untilEffects(name, 1))).toEqual([appended[1]?.id]);
    await untilDeadLetters(name, 1);
    expect(await deadLetters(name)).toMatchObject([{ subject, error_type: "HANDLER_TIMEOUT" }]);
  });

  test("finishes at a stop what it has begun, and leaves the rest to another instance", async () => {
    const name = newName();
    const { handler, entered, open } = gated();
    const first = await events().instance({ name, handler, startFrom: "now", concurrency: 2 }, "one");
    await events().untilRegistered(name);
    const appended = await events().append(newSubjects(6));
    await waitFor(() => entered.length === 2, { description: "two handlers to run" });

    const stopped = first.stop();
    await events().instance({ name }, "two");
    await events().untilEffects(name, 1);
    open();
    await stopped;

    const effects = await events().untilEffects(name, 6);
    expect(eventsOf(effects).toSorted()).toEqual(idsOf(appended).toSorted());
    const ofFirst = effects.filter((effect) => effect.instance === "one");
    expect(eventsOf(ofFirst).toSorted()).toEqual(entered.toSorted());
    expect(entered).toHaveLength(2);
  });

  test("commits what its handler records together with the rest, as the service that it is", async () => {
    const name = newName();
    const [subject = "", about = ""] = newSubjects(2);
    let attempts = 0;
    await events().instance({
      name,
      startFrom: "now",
      async handler({ record }) {
        record(about, { type: "user-erased_v1", data: { id: about, version: 2 }, changedFields: [] });
        attempts += 1;
        if (attempts === 1) throw new Error("not yet");
      },
    });
    await events().untilRegistered(name);

    const [appended] = await events().append([subject]);
    await events().untilEffects(name, 1);

    expect(
      await events().sql("SELECT type, actor, request_id FROM events.outbox WHERE subject = $1", [about]),
    ).toEqual([
      { type: "user-erased_v1", actor: `service:${name}`, request_id: `request-${appended?.sequence}` },
    ]);
  });

  test("calls actions as the service that it is, a write under the same key in every attempt", async () => {
    const name = newName();
    const [subject = ""] = newSubjects(1);
    const calls: Context[] = [];
    const instance = await events().instance({
      name,
      startFrom: "now",
      async handler({ event, call }) {
        await call("users.delete", { id: event.subject });
        if (calls.length === 1) throw new Error("not yet");
      },
    });
    instance.broker.createService({
      name: "users",
      actions: {
        delete: (ctx: Context) => void calls.push(ctx),
      },
    });
    await events().untilRegistered(name);

    const [appended] = await events().append([subject]);
    await events().untilEffects(name, 1);

    const [first, second] = calls;
    expect(first).toMatchObject({
      meta: { principal: { kind: "service", name } },
      requestID: `request-${appended?.sequence}`,
      params: { id: subject },
    });
    expect(first?.headers).toEqual({
      "idempotency-key": expect.stringMatching(/^[\w-]{20,255}$/) as unknown,
    });
    expect(second?.headers).toEqual(first?.headers);
  });

  /** A metric that counts what the database may show a moment before it is counted. */
  async function counted(instance: Instance, metric: string, atLeast: number): Promise<number> {
    await waitFor(async () => (await instance.metric(metric)) >= atLeast, {
      description: `${metric} to be ${atLeast}`,
    });
    return instance.metric(metric);
  }

  async function failures(consumer: string): Promise<number> {
    const [row] = await events().sql<{ attempts: number }>(
      "SELECT attempts FROM events.retry WHERE consumer = $1",
      [consumer],
    );
    return row?.attempts ?? 0;
  }
});
