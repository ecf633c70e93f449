import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { ServiceBroker, ServiceSchema } from "moleculer";

import type { Node } from "../../bootstrap/node.ts";
import { startNode, type RunningNode } from "../../bootstrap/running-node.ts";
import { loadConfig } from "../../lib/config.ts";
import { call } from "../../lib/contracts.ts";
import { durableConsumer } from "../../mixins/durable-consumer.mixin.ts";
import type { DeadLetter } from "../../services/events/dead-letters.contract.ts";
import type { User } from "../../services/users/users.contract.ts";
import { createTestDatabase, type TestDatabase } from "../support/databases.ts";
import { newUser } from "../support/rest-client.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { waitFor } from "../support/wait-for.ts";

let database: TestDatabase;
let node: RunningNode;
let broker: ServiceBroker;
/** The users whose events the consumers can handle. */
const mended = new Set<string>();
const handled: string[] = [];

/** A sibling that gives every event up at its first attempt, unless it is mended. */
const sibling =
  (name: string) =>
  (ofNode: Node): ServiceSchema => ({
    name,
    mixins: [
      durableConsumer(ofNode, {
        name,
        events: ["user-created_v1"],
        maxDeliver: 1,
        async handler({ event }) {
          if (!mended.has(event.subject)) throw new Error(`no template for ${event.data.email}`);
          handled.push(`${name} ${event.subject}`);
        },
      }),
    ],
  });

beforeAll(async () => {
  database = await createTestDatabase();
  const config = loadConfig({
    SERVICES: "users,events",
    DATABASE_URL: database.url,
    SECRET: "0".repeat(32),
    LOG_LEVEL: "silent",
    DRAIN_DELAY_MS: "0",
  });
  node = await startNode(config, silentLogger, { siblings: [sibling("mailer"), sibling("indexer")] });
  ({ broker } = node);
});

afterAll(async () => {
  await node.stop();
  await database.drop();
});

const open = (consumer?: string): Promise<DeadLetter[]> => list({ ...(consumer && { consumer }) });

async function list(params: { consumer?: string; isReplayed?: boolean }): Promise<DeadLetter[]> {
  return (await call(broker, "events.deadLetters", { limit: 100, ...params })).data;
}

/** Creates users, and waits until both consumers have given their events up. */
async function createUsers(count: number): Promise<User[]> {
  const before = (await open()).length;
  const users: User[] = [];
  for (let index = 0; index < count; index += 1) users.push(await call(broker, "users.create", newUser()));
  await waitFor(async () => (await open()).length === before + 2 * count, { description: "dead letters" });
  return users;
}

test("dead letters are listed with their event and error, by consumer and page by page, the last first", async () => {
  const users = await createUsers(5);

  const pages: DeadLetter[] = [];
  let cursor: string | null | undefined;
  do {
    const page = await call(broker, "events.deadLetters", {
      limit: 2,
      consumer: "mailer",
      ...(cursor && { cursor }),
    });
    pages.push(...page.data);
    cursor = page.nextCursor;
  } while (cursor);

  expect(pages).toEqual(await open("mailer"));
  expect(pages.map(({ event }) => event.subject).toSorted()).toEqual(users.map(({ id }) => id).toSorted());
  const times = pages.map(({ lastFailedAt }) => lastFailedAt);
  expect(times).toEqual(times.toSorted().toReversed());
  const [user] = users;
  expect(pages.find(({ event }) => event.subject === user?.id)).toEqual({
    consumer: "mailer",
    event: expect.objectContaining({ specversion: "1.0", type: "user-created_v1", data: user }),
    errorType: "Error",
    errorMessage: `no template for ${user?.email}`,
    attempts: 1,
    firstFailedAt: expect.stringMatching(/^\d{4}-.*Z$/),
    lastFailedAt: expect.stringMatching(/^\d{4}-.*Z$/),
    replayRequestedAt: null,
    replayedAt: null,
  });
});

test("a cursor of another list of dead letters is refused", async () => {
  await createUsers(2);
  const { nextCursor } = await call(broker, "events.deadLetters", { limit: 1, consumer: "mailer" });

  await expect(
    call(broker, "events.deadLetters", { limit: 1, consumer: "indexer", cursor: nextCursor ?? "" }),
  ).rejects.toMatchObject({ type: "INVALID_CURSOR" });
});

test("a replay is for one consumer or for all, and is listed as what it became", async () => {
  const [one, both] = await createUsers(2);
  const eventOf = async (user: User | undefined): Promise<string> =>
    (await open("mailer")).find(({ event }) => event.subject === user?.id)?.event.id ?? "";
  const [idOfOne, idOfBoth] = [await eventOf(one), await eventOf(both)];
  for (const user of [one, both]) mended.add(user?.id ?? "");

  expect(await call(broker, "events.replayDeadLetter", { id: idOfOne, consumer: "mailer" })).toEqual({
    requested: 1,
  });
  expect(await call(broker, "events.replayDeadLetter", { id: idOfBoth })).toEqual({ requested: 2 });
  await waitFor(() => handled.length === 3, { description: "three replays" });

  expect(handled.toSorted()).toEqual(
    [`mailer ${one?.id}`, `mailer ${both?.id}`, `indexer ${both?.id}`].toSorted(),
  );
  await waitFor(async () => (await list({ isReplayed: true })).length === 3, {
    description: "the replays to be listed",
  });
  expect((await open()).filter(({ event }) => event.id === idOfBoth)).toEqual([]);
  expect((await open()).filter(({ event }) => event.id === idOfOne)).toEqual([
    expect.objectContaining({ consumer: "indexer", replayRequestedAt: null }),
  ]);
  expect(await call(broker, "events.replayDeadLetter", { id: idOfBoth })).toEqual({ requested: 0 });
});

test("a replay of what is no dead letter is refused", async () => {
  await expect(call(broker, "events.replayDeadLetter", { id: randomUUID() })).rejects.toMatchObject({
    type: "DEAD_LETTER_NOT_FOUND",
    code: 404,
  });
});

test("erasing a user empties the dead letters about it", async () => {
  const [user] = await createUsers(1);
  await call(broker, "users.erase", { id: user?.id ?? "" });

  const letters = (await open()).filter(({ event }) => event.subject === user?.id);
  expect(letters).toHaveLength(2);
  expect(letters.map(({ event }) => event.data)).toEqual(letters.map(() => ({ id: user?.id, version: 1 })));
  expect(JSON.stringify(letters)).not.toContain(user?.email);
});
