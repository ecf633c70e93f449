import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";

import { createEventCheck, readAsyncApi } from "../support/event-check.ts";
import { endOfLog, FeedReader, SseReader, untilServing } from "../support/event-readers.ts";
import { newUser, RestClient, type UserBody } from "../support/rest-client.ts";
import type { Rollcall } from "../support/rollcall-process.ts";
import { startCluster, type Cluster } from "../support/rollcall-cluster.ts";
import { openSse, type SseClient } from "../support/sse-client.ts";

const EVENTS = "/api/v1/events";
const STREAM = "/api/v1/events/stream";

/** An event as a client sees it. */
interface EventBody {
  readonly type: string;
  readonly subject: string;
  readonly sequence: string;
  readonly data: { readonly version: number };
}

interface FeedBody {
  readonly data: readonly EventBody[];
  readonly nextAfter: number;
  readonly lastSequence: number;
}

let cluster: Cluster;
let otherGateway: Rollcall;
let credentials: Record<string, string>;

beforeAll(async () => {
  cluster = await startCluster();
  await cluster.addEventsNode();
  otherGateway = await cluster.addGateway();
  credentials = { authorization: `Bearer ${cluster.token}` };
  for (const gateway of [cluster.gateway, otherGateway]) await untilServing(gateway, EVENTS, credentials);
});

afterAll(() => cluster.stop());

async function readFeed(query: string): Promise<FeedBody> {
  const response = await cluster.client.get(`${EVENTS}?${query}`);
  expect(response.status).toBe(200);
  return response.json as FeedBody;
}

const openStream = (url: string, headers: Record<string, string> = {}): Promise<SseClient> =>
  openSse(`${url}${STREAM}`, { headers: { ...credentials, ...headers } });

describe("the events of requests", () => {
  test("are what docs/asyncapi.json says, whatever the request", async () => {
    const check = createEventCheck(await readAsyncApi());
    const after = await endOfLog(cluster.client);
    // The last one is of the user that shows where the log ends.
    const types = [...(await writeOfEveryKind()), "user-created_v1"];
    await endOfLog(cluster.client);

    const { data } = await readFeed(`after=${after}&limit=1000`);
    expect(data.map((event) => [event.type, check(event)])).toEqual(types.map((type) => [type, []]));
  });

  test("of an erased user say no more than that it was", async () => {
    const user = await cluster.client.createUser({ bio: "secret" });
    expect((await cluster.client.post(`/api/v1/users/${user.id}/erase`, undefined)).status).toBe(204);
    await endOfLog(cluster.client);
    const { data } = await readFeed(`subject=${user.id}`);
    expect(data.map(({ type, data: payload }) => [type, payload])).toEqual([
      ["user-created_v1", { id: user.id, version: 1 }],
      ["user-erased_v1", { id: user.id, version: 2 }],
    ]);
  });
});

/** Makes requests until every type of event was caused, and returns the types in their order. */
async function writeOfEveryKind(): Promise<string[]> {
  const { client } = cluster;
  const user = await client.createUser({ bio: "line\nline", country: "GB", nickname: "<Ada & Co>" });
  const path = `/api/v1/users/${user.id}`;
  await client.patch(path, { nickname: null });
  await client.request("PUT", path, { body: newUser() });
  await client.post(`${path}/suspend`, undefined);
  await client.post(`${path}/unsuspend`, undefined);
  await client.request("DELETE", path);
  await client.post(`${path}/restore`, undefined);
  const key = await client.post("/api/v1/auth/api-keys", { name: "reader", scopes: ["events:read"] });
  const { id } = key.json as { id: string };
  await client.post(`/api/v1/auth/api-keys/${id}/rotate`, {});
  await client.request("DELETE", `/api/v1/auth/api-keys/${id}`);
  return [
    "user-created_v1",
    "user-updated_v1",
    "user-updated_v1",
    "user-suspended_v1",
    "user-unsuspended_v1",
    "user-deleted_v1",
    "user-restored_v1",
    "api-key-created_v1",
    "api-key-rotated_v1",
    "api-key-revoked_v1",
  ];
}

describe("a reader that is cut off again and again", () => {
  test("sees every sequence exactly once, in order, while users are written", async () => {
    const after = await endOfLog(cluster.client);
    const gateways = [cluster.url, otherGateway.url];
    const readers = [
      new SseReader(gateways, STREAM, credentials, after),
      new SseReader(gateways, STREAM, credentials, after),
      new FeedReader(gateways, EVENTS, credentials, after),
      new FeedReader(gateways, EVENTS, credentials, after),
    ];
    const reading = readers.map((reader) => reader.run());
    const isCutOften = (): boolean => readers.every(({ cuts }) => cuts > 5);
    await Promise.all([write(60, isCutOften), write(60, isCutOften), write(60, isCutOften)]);
    const end = await endOfLog(cluster.client);
    await Promise.all(readers.map((reader) => reader.untilSeen(end)));
    for (const reader of readers) reader.stop();
    await Promise.all(reading);

    const all = Array.from({ length: end - after }, (_, index) => after + 1 + index);
    expect(all.length).toBeGreaterThan(300);
    for (const { sequences } of readers) expect(sequences).toEqual(all);
  });
});

/** Writes so many users, and more until that is enough. */
async function write(users: number, isEnough: () => boolean): Promise<void> {
  for (let count = 0; count < users || !isEnough(); count += 1) {
    const { id }: UserBody = await cluster.client.createUser();
    await cluster.client.patch(`/api/v1/users/${id}`, { nickname: `number ${count}` });
  }
}

describe("the stream", () => {
  test("comes from either gateway, with the events of one user in their order", async () => {
    const user = await cluster.client.createUser();
    const streams = await Promise.all(
      [cluster.url, otherGateway.url].map((url) =>
        openSse(`${url}${STREAM}?subject=${user.id}&after=0`, { headers: credentials }),
      ),
    );
    for (const nickname of ["a", "b", "c"])
      await cluster.client.patch(`/api/v1/users/${user.id}`, { nickname });
    for (const stream of streams) {
      await stream.untilReceived(4);
      const events = stream.messages.map(({ data }) => JSON.parse(data) as EventBody);
      expect(events.map(({ data }) => data.version)).toEqual([1, 2, 3, 4]);
      stream.cut();
    }
  });

  test("is not compressed, not cached, and open at once, also before there is an event", async () => {
    const stream = await openStream(cluster.url, {
      "accept-encoding": "gzip, br",
      origin: "http://localhost",
    });
    expect(stream.status).toBe(200);
    expect(stream.headers).not.toHaveProperty("content-encoding");
    expect(stream.headers["cache-control"]).toBe("no-store, no-transform");
    stream.cut();
  });

  test("has a HEAD that ends, and no other method", async () => {
    expect((await cluster.client.request("HEAD", STREAM)).status).toBe(200);
    const response = await cluster.client.post(STREAM, {});
    expect(response.status).toBe(405);
    expect(response.headers.allow).toBe("GET, HEAD, OPTIONS");
  });

  test("and the feed are not for everybody", async () => {
    const anonymous = new RestClient(cluster.url);
    const key = await cluster.client.post("/api/v1/auth/api-keys", { name: "other", scopes: ["users:read"] });
    const { key: otherKey } = key.json as { key: string };
    for (const path of [EVENTS, STREAM]) {
      expect((await anonymous.get(path)).status).toBe(401);
      expect((await cluster.client.get(path, { authorization: `Bearer ${otherKey}` })).status).toBe(403);
    }
    anonymous.close();
  });

  test("and the feed are for API keys with the scope events:read", async () => {
    const response = await cluster.client.post("/api/v1/auth/api-keys", {
      name: "reader",
      scopes: ["events:read"],
    });
    const { key } = response.json as { key: string };
    expect((await cluster.client.get(EVENTS, { authorization: `Bearer ${key}` })).status).toBe(200);
    const stream = await openStream(cluster.url, { authorization: `Bearer ${key}` });
    expect(stream.status).toBe(200);
    stream.cut();
  });
});
