import { afterAll, beforeAll, expect, test } from "@jest/globals";

import { startCluster, type Cluster } from "../support/rollcall-cluster.ts";
import { endOfLog, untilServing } from "../support/event-readers.ts";
import { RestClient } from "../support/rest-client.ts";
import { openSse, type SseClient } from "../support/sse-client.ts";
import { waitFor } from "../support/wait-for.ts";

const STREAMS = 1_000;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster();
  await cluster.addEventsNode();
  await untilServing(cluster.gateway, "/api/v1/events", { authorization: `Bearer ${cluster.token}` });
  // What was written before, which a stream that is opened now could still see.
  await endOfLog(cluster.client);
});

afterAll(() => cluster.stop());

function openMany(url: string, count: number): Promise<SseClient[]> {
  const headers = { authorization: `Bearer ${cluster.token}` };
  return Promise.all(
    Array.from({ length: count }, () => openSse(`${url}/api/v1/events/stream`, { headers })),
  );
}

test("a gateway with a thousand open streams sends an event to each, and answers requests meanwhile", async () => {
  const streams: SseClient[] = [];
  while (streams.length < STREAMS) streams.push(...(await openMany(cluster.url, 100)));
  expect(new Set(streams.map(({ status }) => status))).toEqual(new Set([200]));

  const users = [await cluster.client.createUser(), await cluster.client.createUser()];
  await waitFor(() => streams.every(({ messages }) => messages.length >= 2), {
    description: "each stream to have the events",
    timeoutMs: 60_000,
  });
  for (const { messages } of streams) {
    const subjects = messages.map(({ data }) => (JSON.parse(data) as { subject: string }).subject);
    expect(subjects).toEqual(users.map(({ id }) => id));
  }
  expect((await cluster.client.get("/health/ready")).status).toBe(200);

  for (const stream of streams) stream.cut();
  await Promise.all(streams.map(({ ended }) => ended));
});

test("a gateway that is stopped ends streams and waits in order, and another one goes on", async () => {
  const [stopping, other] = await Promise.all([cluster.addGateway(), cluster.addGateway()]);
  const credentials = { authorization: `Bearer ${cluster.token}` };
  await Promise.all([stopping, other].map((gateway) => untilServing(gateway, "/api/v1/events", credentials)));
  const client = new RestClient(stopping.url, { token: cluster.token });
  const { nextAfter } = (await client.get("/api/v1/events?limit=1000")).json as { nextAfter: number };
  const streams = await openMany(stopping.url, 20);
  const wait = client.get(`/api/v1/events?after=${nextAfter}&wait=30`);

  const startedAt = performance.now();
  stopping.signal("SIGTERM");
  expect((await wait).json).toMatchObject({ data: [], nextAfter });
  expect(await Promise.all(streams.map(({ ended }) => ended))).toEqual(streams.map(() => "ended"));
  expect(await stopping.ended).toEqual({ exitCode: 0, signal: null });
  // Long before the wait of the request or the deadline of the stop.
  expect(performance.now() - startedAt).toBeLessThan(14_000);

  const { id } = await cluster.client.createUser();
  const [first] = streams;
  const again = await openSse(`${other.url}/api/v1/events/stream`, {
    headers: {
      authorization: `Bearer ${cluster.token}`,
      "last-event-id": first?.lastEventId ?? "",
    },
  });
  await again.untilReceived(1);
  expect(again.messages.map(({ data }) => (JSON.parse(data) as { subject: string }).subject)).toEqual([id]);
  again.cut();
  client.close();
});
