import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";

import type { EventTiming } from "../../services/api/event-answers.ts";
import type { EventPage } from "../../services/events/events.contract.ts";
import { expireLog } from "../support/event-log.ts";
import { startEventServers, type EventServer, type EventServers } from "../support/event-servers.ts";
import { fieldsOf, problemOf } from "../support/problems.ts";
import { RestClient, type RestResponse } from "../support/rest-client.ts";
import { waitFor } from "../support/wait-for.ts";

let servers: EventServers;
let clients: RestClient[] = [];

beforeAll(async () => {
  servers = await startEventServers();
});

afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  await servers.reset();
});

afterAll(() => servers.stop());

async function start(timing?: EventTiming): Promise<{ client: RestClient; server: EventServer }> {
  const server = await servers.start(timing);
  const client = new RestClient(new URL(server.feedUrl).origin);
  clients.push(client);
  return { client, server };
}

const pageOf = ({ json }: RestResponse): EventPage => json as EventPage;
const sequencesOf = (response: RestResponse): number[] =>
  pageOf(response).data.map(({ sequence }) => Number(sequence));

/** Waits until a request has read the log and now waits itself. */
async function untilWaiting(): Promise<void> {
  const calls = jest.spyOn(servers.broker, "call");
  await waitFor(() => calls.mock.calls.some(([, query]) => (query as { limit?: number }).limit === 1000), {
    description: "the gateway to follow the log",
  });
}

describe("the feed", () => {
  test("gives a page of the log, where to go on, and a link that keeps the filters", async () => {
    const { client } = await start();
    await servers.append(5, { type: "CASE n % 2 WHEN 0 THEN 'user-created_v1' ELSE 'user-updated_v1' END" });
    const all = await client.get("/feed?limit=2");
    expect(all.status).toBe(200);
    expect(sequencesOf(all)).toEqual([1, 2]);
    expect(pageOf(all)).toMatchObject({ nextAfter: 2, lastSequence: 5 });
    expect(all.headers).toMatchObject({
      link: '</feed?limit=2&after=2>; rel="next"',
      "cache-control": "no-store",
      vary: "Accept",
    });
    const some = await client.get("/feed?types=user-created_v1,user-deleted_v1&after=0");
    expect(sequencesOf(some)).toEqual([2, 4]);
    expect(pageOf(some).nextAfter).toBe(5);
    expect(some.headers.link).toBe('</feed?types=user-created_v1%2Cuser-deleted_v1&after=5>; rel="next"');
  });

  test("is there in XML", async () => {
    const { client } = await start();
    await servers.append(1);
    const { text, headers } = await client.get("/feed", { accept: "application/xml" });
    expect(headers["content-type"]).toBe("application/xml");
    expect(text).toContain("<events><data><item><specversion>1.0</specversion>");
    expect(text).toContain("<nextAfter>1</nextAfter>");
  });

  test("says that events have expired, and where the log begins", async () => {
    const { client } = await start();
    await servers.append(10);
    await expireLog(servers.nodes, 4);
    const response = await client.get("/feed?after=3");
    expect(problemOf(response)).toMatchObject({
      status: 410,
      code: "EVENTS_EXPIRED",
      retryable: false,
      detail: expect.stringContaining("begins at 5;") as unknown,
    });
    expect(sequencesOf(await client.get("/feed?after=4"))[0]).toBe(5);
    expect(sequencesOf(await client.get("/feed"))[0]).toBe(5);
  });
});

describe("a request that waits", () => {
  test("is answered as soon as there is an event", async () => {
    const { client } = await start();
    await servers.append(3);
    const waiting = untilWaiting();
    const answer = client.get("/feed?after=3&wait=30");
    await waiting;
    await servers.append(2);
    expect(sequencesOf(await answer)).toEqual([4, 5]);
    expect(pageOf(await answer)).toMatchObject({ nextAfter: 5, lastSequence: 5 });
  });

  test("gets nothing when its client may no longer read by then", async () => {
    const { client, server } = await start();
    const waiting = untilWaiting();
    const answer = client.get("/feed?wait=30");
    await waiting;
    server.revoke();
    await servers.append(1);
    expect(problemOf(await answer)).toMatchObject({ status: 401, code: "INVALID_TOKEN" });
  });

  test("is answered by the events that are there already", async () => {
    const { client } = await start();
    await servers.append(3);
    expect(sequencesOf(await client.get("/feed?after=1&wait=30"))).toEqual([2, 3]);
  });

  test("waits on past the events that it does not want, and then need not see them again", async () => {
    const { client } = await start();
    await servers.append(3);
    const waiting = untilWaiting();
    const answer = client.get("/feed?after=3&wait=30&types=user-erased_v1&limit=1");
    await waiting;
    await servers.append(4);
    await servers.append(2, { type: "'user-erased_v1'" });
    expect(sequencesOf(await answer)).toEqual([8]);
    expect(pageOf(await answer).nextAfter).toBe(8);
  });

  test("gives an empty page when its time is over, from which to go on", async () => {
    const { client } = await start();
    await servers.append(3);
    const waiting = untilWaiting();
    const answer = client.get("/feed?after=3&wait=1&types=user-erased_v1");
    await waiting;
    await servers.append(1);
    const page = pageOf(await answer);
    expect(page.data).toEqual([]);
    // When the machine is slow, the time is over before the gateway has seen the event.
    expect([3, 4]).toContain(page.nextAfter);
  });

  test("that comes back for each event does not make the gateway read the end of the log anew", async () => {
    const { client } = await start();
    const calls = jest.spyOn(servers.broker, "call");
    const limits = (): unknown[] => calls.mock.calls.map(([, query]) => (query as { limit: number }).limit);
    for (let after = 0; after < 4; after += 1) {
      const waiting = waitFor(() => limits().filter((limit) => limit === 7).length > after, {
        description: "the request to find nothing",
      });
      const answer = client.get(`/feed?after=${after}&limit=7&wait=30`);
      await waiting;
      await servers.append(1);
      expect(sequencesOf(await answer)).toEqual([after + 1]);
    }
    // With which a gateway begins to follow the log.
    expect(limits().filter((limit) => limit === 1)).toHaveLength(1);
  });

  test("is answered when the gateway ends", async () => {
    const { client, server } = await start();
    const waiting = untilWaiting();
    const answer = client.get("/feed?wait=30");
    await waiting;
    server.answers.close();
    expect((await answer).status).toBe(200);
    // It is not made to wait again.
    expect((await client.get("/feed?wait=30")).status).toBe(200);
  });

  test("leaves nothing behind when its client leaves", async () => {
    const { client } = await start({ lingerMs: 0 });
    const waiting = untilWaiting();
    const answer = client.get("/feed?wait=30");
    await waiting;
    client.close();
    await expect(answer).rejects.toMatchObject({ code: "ECONNRESET" });
    const calls = jest.spyOn(servers.broker, "call");
    await waitFor(
      async () => {
        calls.mockClear();
        await servers.append(1);
        return calls.mock.calls.length === 0;
      },
      { description: "the gateway to follow the log no more" },
    );
  });
});

describe("a request that is not valid", () => {
  test.each([
    ["after", "after=-1"],
    ["after", "after="],
    ["after", "after=1e3"],
    ["after", "after=0x10"],
    ["after", "after=1&after=2"],
    ["after", "after=1"],
    ["limit", "limit=0"],
    ["limit", "limit=1001"],
    ["limit", "limit=005"],
    ["limit", "limit=1e1"],
    ["wait", "wait=31"],
    ["wait", "wait=soon"],
    ["wait", "wait=01"],
    ["types", "types="],
    ["types", "types=user-created"],
    ["types", "types=user-created_v1,,"],
    ["types", "types=user-created_v1,user-created_v1"],
    ["subject", "subject=ada"],
    ["subject", "subject=4711"],
    ["sort", "sort=after"],
    ["__proto__", "__proto__=1"],
  ])("is refused with %s named: %s", async (field, query) => {
    const { client } = await start();
    const problem = problemOf(await client.get(`/feed?${query}`));
    expect(problem).toMatchObject({ status: 400, code: "VALIDATION_FAILED" });
    expect(new Set(fieldsOf(problem))).toEqual(new Set([field]));
  });

  test.each([
    ["Last-Event-ID", "/stream", { "last-event-id": "abc" }],
    ["Last-Event-ID", "/stream", { "last-event-id": "99999999999999999999" }],
    ["after", "/stream?after=5", {}],
    ["limit", "/stream?limit=5", {}],
    ["wait", "/stream?wait=5", {}],
    ["types", "/stream?types=user-created", {}],
  ])("is refused with %s named, for a stream: %s %j", async (field, path, headers) => {
    const { client } = await start();
    const problem = problemOf(await client.get(path, headers));
    expect(problem).toMatchObject({ status: 400, code: "VALIDATION_FAILED" });
    expect(fieldsOf(problem)).toEqual([field]);
  });

  test("is refused when the client takes no stream", async () => {
    const { client } = await start();
    expect((await client.get("/stream", { accept: "application/json" })).status).toBe(406);
  });
});
