import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";

import type { EventPage } from "../../services/events/events.contract.ts";
import { appendToLog, expireLog } from "../support/event-log.ts";
import { startEventServers, type EventServers } from "../support/event-servers.ts";
import { openSse, type SseClient } from "../support/sse-client.ts";
import { waitFor } from "../support/wait-for.ts";

const SUBJECT = "01890a5d-9c2e-7f41-8d3a-5b1c2d3e4f50";

let servers: EventServers;
let clients: SseClient[] = [];

beforeAll(async () => {
  servers = await startEventServers();
});

afterEach(async () => {
  for (const client of clients) client.cut();
  clients = [];
  await servers.reset();
});

afterAll(() => servers.stop());

async function open(url: string, headers: Record<string, string> = {}): Promise<SseClient> {
  const client = await openSse(url, { headers });
  clients.push(client);
  return client;
}

const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

describe("a stream", () => {
  test("sends events as they come, each with its sequence, its type and the whole of it", async () => {
    await servers.append(3);
    const { streamUrl } = await servers.start();
    const client = await open(streamUrl);
    await servers.append(2, { type: "'user-created_v1'", subject: `'${SUBJECT}'` });
    await client.untilReceived(2);

    expect(client.status).toBe(200);
    expect(client.headers).toMatchObject({
      "content-type": "text/event-stream",
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    expect(client.text).toMatch(/^retry: \d+\nid: 3\n\nid: 4\nevent: user-created_v1\ndata: \{/);
    const retryMs = Number(/\d+/.exec(client.text)?.[0]);
    expect(retryMs).toBeGreaterThanOrEqual(1000);
    expect(retryMs).toBeLessThanOrEqual(3000);
    expect(client.messages.map(({ id, event }) => [id, event])).toEqual([
      ["4", "user-created_v1"],
      ["5", "user-created_v1"],
    ]);
    expect(JSON.parse(client.messages[0]?.data ?? "")).toMatchObject({
      specversion: "1.0",
      type: "user-created_v1",
      subject: SUBJECT,
      sequence: "0000000000000004",
    });
  });

  test("begins after the position that is asked for, however far back it is", async () => {
    await servers.append(3_000);
    const { streamUrl } = await servers.start();
    const [beginning, near, far] = await Promise.all([
      open(`${streamUrl}?after=0`),
      open(`${streamUrl}?after=2990`),
      // The header is newer than the URL, which says where the client once began.
      open(`${streamUrl}?after=1`, { "last-event-id": "1500" }),
    ]);
    await Promise.all([beginning.untilReceived(3_000), near.untilReceived(10), far.untilReceived(1_500)]);
    await servers.append(5);
    await Promise.all([beginning.untilReceived(3_005), near.untilReceived(15), far.untilReceived(1_505)]);
    expect(beginning.sequences).toEqual(range(1, 3_005));
    expect(near.sequences).toEqual(range(2_991, 3_005));
    expect(far.sequences).toEqual(range(1_501, 3_005));
  });

  test("takes positions as the sequence of an event is written, and ids in capitals", async () => {
    await servers.append(3, { subject: `'${SUBJECT}'` });
    const { streamUrl } = await servers.start();
    const client = await open(`${streamUrl}?after=0000000000000001&subject=${SUBJECT.toUpperCase()}`);
    await client.untilReceived(2);
    await servers.append(1, { subject: `'${SUBJECT}'` });
    await client.untilReceived(3);
    expect(client.sequences).toEqual([2, 3, 4]);
  });

  test("sends what its filters say, from the log as well as what comes", async () => {
    const columns = {
      type: "(ARRAY['user-created_v1', 'user-updated_v1', 'user-deleted_v1'])[n % 3 + 1]",
      subject: `CASE n % 2 WHEN 0 THEN '${SUBJECT}'::uuid ELSE gen_random_uuid() END`,
    };
    await servers.append(30, columns);
    const { streamUrl } = await servers.start();
    const ofTypes = await open(`${streamUrl}?after=0&types=user-created_v1,user-deleted_v1`);
    const ofSubject = await open(`${streamUrl}?after=0&subject=${SUBJECT}`);
    const ofBoth = await open(`${streamUrl}?after=0&subject=${SUBJECT}&types=user-updated_v1`);
    await servers.append(30, columns);
    await Promise.all([ofTypes.untilReceived(40), ofSubject.untilReceived(30), ofBoth.untilReceived(10)]);
    expect(ofTypes.sequences).toEqual(range(1, 60).filter((n) => n % 3 !== 1));
    expect(ofSubject.sequences).toEqual(range(1, 60).filter((n) => n % 2 === 0));
    expect(ofBoth.sequences).toEqual(range(1, 60).filter((n) => n % 6 === 4));
  });

  test("finds out by itself that there is more when the announcement is lost", async () => {
    const { streamUrl } = await servers.start();
    const client = await open(streamUrl);
    await appendToLog(servers.nodes, 1);
    await client.untilReceived(1);
    expect(client.sequences).toEqual([1]);
  });

  test("tells where to go on, so that a client that is cut off before an event misses none", async () => {
    await servers.append(7);
    const { streamUrl } = await servers.start({ heartbeatMs: 20 });
    const client = await open(`${streamUrl}?types=user-erased_v1`);
    await waitFor(() => client.lastEventId === "7", { description: "the position" });
    await servers.append(5);
    await waitFor(() => client.lastEventId === "12", {
      description: "the position after what is not wanted",
    });
    client.cut();
    await servers.append(1, { type: "'user-erased_v1'" });
    const again = await open(`${streamUrl}?types=user-erased_v1`, { "last-event-id": client.lastEventId });
    await again.untilReceived(1);
    expect(again.sequences).toEqual([13]);
  });

  test("sends an event that is larger than a message between nodes, and what comes after it", async () => {
    const { streamUrl } = await servers.start();
    const client = await open(streamUrl);
    await servers.append(1, { data: "jsonb_build_object('bio', repeat('x', 1500000))" });
    await servers.append(1);
    await client.untilReceived(2);
    const late = await open(`${streamUrl}?after=0`);
    await late.untilReceived(2);
    expect([client.sequences, late.sequences]).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  test("shows that it lives while nothing happens", async () => {
    const { streamUrl } = await servers.start({ heartbeatMs: 20 });
    const client = await open(streamUrl);
    await waitFor(() => /(?:^:\n\n){3}/m.test(client.text), { description: "heartbeats" });
    expect(client.messages).toEqual([]);
  });

  test("ends when its client may no longer read", async () => {
    await servers.append(1);
    const { streamUrl, revoke } = await servers.start({ heartbeatMs: 20 });
    const client = await open(`${streamUrl}?after=0`);
    await client.untilReceived(1);
    await waitFor(() => client.text.includes("\n:\n"), { description: "a heartbeat" });
    revoke();
    expect(await client.ended).toBe("ended");
  });

  test("does so long before the next heartbeat", async () => {
    const { streamUrl, revoke } = await servers.start({ heartbeatMs: 600_000 });
    const client = await open(streamUrl);
    revoke();
    expect(await client.ended).toBe("ended");
  });

  test("ends when the log has lost what it would send next, and its client is told why", async () => {
    await servers.append(20);
    const { streamUrl } = await servers.start();
    const client = await open(streamUrl);
    // All of it expires before this gateway has seen the last events.
    await servers.nodes.sql("BEGIN");
    await appendToLog(servers.nodes, 20);
    await expireLog(servers.nodes, 40);
    await servers.nodes.sql("COMMIT");
    await servers.append(1);
    expect(await client.ended).toBe("ended");
    const again = await open(streamUrl, { "last-event-id": client.lastEventId });
    expect(again.status).toBe(410);
  });
});

test("what a gateway keeps of the log forgets who is erased", async () => {
  const { streamUrl } = await servers.start();
  const client = await open(streamUrl);
  await servers.append(3, { subject: `'${SUBJECT}'`, data: "jsonb_build_object('bio', 'secret')" });
  await client.untilReceived(3);
  await servers.nodes.sql("UPDATE events.log SET data = '{}'");
  await servers.append(2, { type: "'user-erased_v1'" });
  await client.untilReceived(5);
  const late = await open(`${streamUrl}?after=0`);
  await late.untilReceived(5);
  expect(client.text).toContain("secret");
  expect(late.text).not.toContain("secret");
});

describe("a slow client", () => {
  test("is disconnected, while others get everything and its gateway holds no more than a chunk for it", async () => {
    const { streamUrl, connections } = await servers.start({ stallTimeoutMs: 2000 });
    const slow = await open(streamUrl);
    const quick = await open(streamUrl);
    slow.pause();
    const data = "jsonb_build_object('bio', repeat('x', 20000))";
    for (let round = 0; round < 30; round += 1) await servers.append(30, { data });
    await quick.untilReceived(900);
    expect(quick.sequences).toEqual(range(1, 900));
    await waitFor(async () => (await connections()) === 1, { description: "the slow client to be cut off" });
    slow.resume();
    expect(await slow.ended).toBe("cut");
    expect(slow.sequences.length).toBeLessThan(900);
  });

  test("that reads again in time goes on without a gap, from pages when the hub is past it", async () => {
    const { streamUrl } = await servers.start({ stallTimeoutMs: 600_000 });
    const client = await open(streamUrl);
    client.pause();
    const data = "jsonb_build_object('bio', repeat('x', 10000))";
    for (let round = 0; round < 50; round += 1) await servers.append(30, { data });
    client.resume();
    await client.untilReceived(1_500);
    expect(client.sequences).toEqual(range(1, 1_500));
  });
});

describe("a gateway", () => {
  test("asks for each event once, however many streams it has", async () => {
    const { streamUrl } = await servers.start();
    const calls = jest.spyOn(servers.broker, "call");
    const first = await open(streamUrl);
    await servers.append(5);
    await first.untilReceived(5);
    const many = await Promise.all(range(1, 50).map(() => open(`${streamUrl}?after=5`)));
    // Each may have read a page before its gateway was at the end of the log.
    await servers.append(1);
    await Promise.all(many.map((client) => client.untilReceived(1)));
    await servers.append(3);
    await Promise.all(many.map((client) => client.untilReceived(4)));
    expect(many.map(({ sequences }) => sequences)).toEqual(many.map(() => [6, 7, 8, 9]));
    const pages = (await Promise.all(calls.mock.results.map(({ value }) => value))) as EventPage[];
    const fetched = pages.flatMap(({ data }) => data.map(({ sequence }) => Number(sequence)));
    expect(fetched.filter((sequence) => sequence > 6)).toEqual([7, 8, 9]);
  });

  test("asks for nothing when nobody reads", async () => {
    const { streamUrl } = await servers.start({ lingerMs: 0 });
    const client = await open(streamUrl);
    await servers.append(1);
    await client.untilReceived(1);
    client.cut();
    const calls = jest.spyOn(servers.broker, "call");
    // It sees only after a moment that the client has left.
    const isResting = async (): Promise<boolean> => {
      calls.mockClear();
      await servers.append(1);
      // Longer than it takes until a gateway looks by itself.
      await sleep(1_500);
      return calls.mock.calls.length === 0;
    };
    await expect(waitFor(isResting, { description: "the gateway to rest" })).resolves.toBe(true);
  });

  test("tells its clients to come back somewhere else when it ends", async () => {
    await servers.append(5);
    const [one, other] = await Promise.all([servers.start(), servers.start()]);
    const client = await open(one.streamUrl);
    one.answers.close();
    expect(await client.ended).toBe("ended");
    await servers.append(2);
    const again = await open(other.streamUrl, { "last-event-id": client.lastEventId });
    await again.untilReceived(2);
    expect(again.sequences).toEqual([6, 7]);
    expect((await open(one.streamUrl)).status).toBe(503);
  });
});
