import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { loadConfig } from "../../lib/config.ts";
import { Database } from "../../lib/database.ts";
import { handledEvents } from "../../services/events/retention.repository.ts";
import { exhaust } from "../../services/events/retention.ts";
import { EventConsumers, type Appended, type Instance } from "../support/event-consumers.ts";
import { silentLogger } from "../support/silent-logger.ts";

const subject = randomUUID();
let events: EventConsumers;
let instance: Instance;
let appended: Appended[];

const name = "faults";
const idsOf = (of: readonly Appended[]): string[] => of.map(({ id }) => id);

beforeAll(async () => {
  events = await EventConsumers.start({ useNats: true });
  instance = await events.instance({ name });
  appended = await events.append([subject, subject]);
  await events.untilEffects(name, 2);
});

afterAll(() => events.stop());

/** Appends one more event, and gives what was handled so far when nothing waits any more. */
async function goOn(): Promise<string[]> {
  appended.push(...(await events.append([subject])));
  await events.untilEffects(name, appended.length);
  await events.untilNothingWaits(instance);
  const effects = await events.effects(name);
  return effects.map(({ eventId }) => eventId);
}

describe("a durable consumer on JetStream goes on, and does nothing twice, after", () => {
  test("its consumer in JetStream was deleted", async () => {
    await events.deleteConsumer(name);
    expect(await goOn()).toEqual(idsOf(appended));
  });

  test("the stream was deleted, and filled again from the log", async () => {
    await events.deleteStream();
    await events.createStream();
    await events.giveOutAgain();
    expect(await goOn()).toEqual(idsOf(appended));
  });

  test("NATS was killed", async () => {
    await events.nats?.kill();
    await events.nats?.restart();
    expect(await goOn()).toEqual(idsOf(appended));
  });

  test("the stream was away for a while, when it starts", async () => {
    await instance.stop();
    await events.deleteStream();
    instance = await events.instance({ name }, "two");
    await events.createStream();
    await events.giveOutAgain();
    expect(await goOn()).toEqual(idsOf(appended));
  });

  test("messages that are no events", async () => {
    await events.publishRaw(`events.user-updated_v1.${subject}`, "not JSON");
    await events.publishRaw(`events.user-updated_v1.${subject}`, "{}");
    expect(await goOn()).toEqual(idsOf(appended));
  });
});

test("the inbox is kept for what the log still has, and no longer", async () => {
  const [oldest = "", ...others] = idsOf(appended);
  await events.sql("DELETE FROM events.log WHERE id = $1", [oldest]);
  const config = loadConfig({ SERVICES: "none" });
  const database = new Database({ ...config, DATABASE_URL: events.databaseUrl }, silentLogger);
  try {
    await exhaust(handledEvents, database);
  } finally {
    await database.close();
  }

  const kept = await events.sql<{ id: string }>("SELECT event_id AS id FROM events.inbox ORDER BY sequence");
  expect(kept.map(({ id }) => id)).toEqual(others);
  await events.giveOutAgain();
  expect(await goOn()).toEqual(idsOf(appended));
});
