import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, expect, test } from "@jest/globals";

import { EventConsumers, type TestDelivery } from "../support/event-consumers.ts";
import { waitFor } from "../support/wait-for.ts";

let events: EventConsumers;

beforeAll(async () => {
  events = await EventConsumers.start({ useNats: false });
});

afterAll(() => events.stop());

interface DeadLetter {
  readonly data: unknown;
  readonly error: string;
}

/** What is kept of an event that a consumer gives up; meanwhile, while it handles the event, something is done. */
async function deadLetterOf(
  subject: string,
  meanwhile: () => Promise<unknown>,
): Promise<DeadLetter | undefined> {
  const [appended] = await events.append([subject]);
  const data = JSON.stringify({ id: subject, email: "ada@example.com" });
  await events.sql("UPDATE events.log SET data = $2 WHERE id = $1", [appended?.id, data]);
  const handler = async ({ event }: TestDelivery): Promise<void> => {
    if (event.subject !== subject) return;
    await meanwhile();
    throw new Error("ada@example.com was refused");
  };
  await events.instance({ name: `consumer-${subject.slice(0, 8)}`, maxDeliver: 1, handler });
  const find = (): Promise<DeadLetter[]> =>
    events.sql<DeadLetter & Record<string, unknown>>(
      "SELECT event -> 'data' AS data, error_message AS error FROM events.dead_letter WHERE subject = $1",
      [subject],
    );
  await waitFor(async () => (await find()).length === 1, { description: "a dead letter" });
  const [deadLetter] = await find();
  return deadLetter;
}

test("a dead letter has the event and what was wrong", async () => {
  const subject = randomUUID();
  expect(await deadLetterOf(subject, async () => undefined)).toEqual({
    data: { id: subject, email: "ada@example.com" },
    error: "ada@example.com was refused",
  });
});

test("a dead letter about a subject that was erased while it was handled has neither", async () => {
  const subject = randomUUID();
  const erase = () =>
    events.sql("UPDATE events.log SET data = $2 WHERE subject = $1", [
      subject,
      JSON.stringify({ id: subject }),
    ]);
  expect(await deadLetterOf(subject, erase)).toEqual({ data: { id: subject }, error: "" });
});
