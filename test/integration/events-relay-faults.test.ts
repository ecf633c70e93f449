import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";

import { migrate } from "../../bootstrap/migrate.ts";
import { queryOnce } from "../support/databases.ts";
import { readStream, versionsBySubject, type StreamReader } from "../support/event-stream.ts";
import {
  faultsOf,
  NO_FAULTS,
  startEventWriter,
  type EventWriter,
  type StreamFaults,
} from "../support/event-writer.ts";
import { startNats } from "../support/nats.ts";
import { relayState, untilAllPublished } from "../support/outbox-rows.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";
import { runRollcall, startRollcall, type Rollcall } from "../support/rollcall-process.ts";
import type { TestServer } from "../support/server-process.ts";
import { silentLogger } from "../support/silent-logger.ts";
import { waitFor } from "../support/wait-for.ts";

/** Within this time another node leads when the one that led is lost. */
const TAKEOVER_MS = 5000;

let postgres: TestPostgres;
let nats: TestServer;
let stream: StreamReader;
const nodes = new Map<string, Rollcall>();
let writer: EventWriter;

beforeAll(async () => {
  [postgres, nats] = await Promise.all([startPostgres(), startNats({ jetStream: true })]);
  stream = readStream(nats.url);
  await migrate(postgres.url, silentLogger);
  await Promise.all(["events-a", "events-b"].map(startEventsNode));
});

afterAll(async () => {
  await Promise.all([...nodes.values()].map((node) => node.stop()));
  await Promise.all([postgres.stop(), nats.stop()]);
});

beforeEach(async () => {
  await untilLed();
  writer = startEventWriter(postgres.url);
  await untilWritten(100);
});

afterEach(() => writer.stop());

async function startEventsNode(id: string): Promise<void> {
  const env = {
    SERVICES: "events",
    NODE_ID: id,
    DATABASE_URL: postgres.url,
    NATS_URL: nats.url,
    SECRET: "a secret of the tests with 32 characters",
    EVENTS_POLL_INTERVAL_MS: "50",
    DRAIN_DELAY_MS: "0",
  };
  nodes.set(id, await startRollcall({ env }));
}

/** The database, asked anew each time: its connections are among what is broken here. */
const database = {
  async sqlOne<Row>(text: string): Promise<Row> {
    const [row] = await queryOnce(postgres.url, text);
    return row as Row;
  },
};

/** The session that holds the lock of the leader, and the node that it is of. */
async function findLeader(): Promise<{ pid: number; node: string } | undefined> {
  const rows = await queryOnce(
    postgres.url,
    `SELECT pid, replace(application_name, 'rollcall ', '') AS node
     FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) + objid::bigint = 8245937405158780013`,
  );
  return rows[0] as { pid: number; node: string } | undefined;
}

async function untilLed(): Promise<string> {
  const leader = await waitFor(findLeader, { description: "a node to lead" });
  return leader?.node ?? "";
}

/** @param timeoutMs where it is promised */
async function untilAnotherLeads(than: string, timeoutMs?: number): Promise<string> {
  const another = async (): Promise<string | undefined> => {
    const leader = await findLeader();
    return leader && leader.node !== than ? leader.node : undefined;
  };
  const node = await waitFor(another, {
    description: `another node than ${than} to lead`,
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
  return node ?? "";
}

/** Waits until the writer has committed so many more events. */
async function untilWritten(count: number): Promise<void> {
  const goal = writer.committed.size + count;
  await waitFor(() => writer.committed.size >= goal, {
    description: `${count} events to be written`,
  });
}

function nodeOf(id: string): Rollcall {
  const node = nodes.get(id);
  if (!node) throw new Error(`There is no node ${id}.`);
  return node;
}

/** What is wrong with the stream when everything has come to rest. */
async function findFaults(): Promise<StreamFaults> {
  await writer.stop();
  await untilAllPublished(database, 30_000);
  return faultsOf(await stream.messages(), writer, (await relayState(database)).head);
}

describe("while events are written", () => {
  test("the leader is killed: another node leads within 5 s, and all events are published", async () => {
    const first = await untilLed();
    await nodeOf(first).kill();
    await untilAnotherLeads(first, TAKEOVER_MS);
    await untilWritten(100);
    expect(await findFaults()).toEqual(NO_FAULTS);
    await startEventsNode(first);
  });

  test("the leader is frozen: another node leads within 5 s, and the first one does no harm when it goes on", async () => {
    const first = await untilLed();
    nodeOf(first).signal("SIGSTOP");
    const second = await untilAnotherLeads(first, TAKEOVER_MS);
    await untilWritten(100);
    nodeOf(first).signal("SIGCONT");
    await waitFor(() => nodeOf(first).log.some(({ msg }) => msg === "the relay of this node leads no more"), {
      description: "the first leader to know",
    });
    await untilWritten(100);
    expect(await findFaults()).toEqual(NO_FAULTS);
    expect(await untilLed()).toBe(second);
  });

  test("the leader is stopped: another node leads, and all events are published", async () => {
    const first = await untilLed();
    await nodeOf(first).stop();
    await untilAnotherLeads(first);
    await untilWritten(100);
    expect(await findFaults()).toEqual(NO_FAULTS);
    await startEventsNode(first);
  });

  test("the connection of the leader is ended: some node leads again", async () => {
    const leader = await findLeader();
    await queryOnce(postgres.url, `SELECT pg_terminate_backend(${leader?.pid})`);
    await waitFor(
      async () => {
        const current = await findLeader();
        return current !== undefined && current.pid !== leader?.pid;
      },
      { description: "a new session to lead" },
    );
    await untilWritten(100);
    expect(await findFaults()).toEqual(NO_FAULTS);
  });

  test("NATS is killed and comes back: events go on into the log, and are published then", async () => {
    await nats.kill();
    const { head } = await relayState(database);
    await untilWritten(200);
    await waitFor(async () => (await relayState(database)).head >= head + 150, {
      description: "the log to grow without NATS",
    });
    await nats.restart();
    await untilWritten(100);
    expect(await findFaults()).toEqual(NO_FAULTS);
  });

  test("NATS is frozen for a while: the order is kept", async () => {
    nats.freeze();
    await untilWritten(200);
    nats.thaw();
    await untilWritten(100);
    expect(await findFaults()).toEqual(NO_FAULTS);
  });

  test("PostgreSQL is killed and comes back: all that was committed is published", async () => {
    await postgres.kill();
    await postgres.restart();
    await untilWritten(200);
    expect(await findFaults()).toEqual(NO_FAULTS);
  });

  test("PostgreSQL is frozen: the leader stops in order, and another node leads when it is back", async () => {
    const first = await untilLed();
    postgres.freeze();
    const { exitCode } = await nodeOf(first).stop();
    postgres.thaw();
    expect(exitCode).toBe(0);
    await untilAnotherLeads(first);
    await untilWritten(100);
    expect(await findFaults()).toEqual(NO_FAULTS);
    await startEventsNode(first);
  });

  test("the stream is deleted: what is new is published into a new one, and a replay brings back the rest", async () => {
    await stream.remove();
    await untilWritten(100);
    await waitFor(async () => (await stream.messages()).length > 0, {
      description: "the stream to be there again",
    });
    const { exitCode } = await runRollcall({
      program: "replay-command.ts",
      args: ["--from", "1"],
      env: { DATABASE_URL: postgres.url },
    });
    expect(exitCode).toBe(0);
    await untilWritten(100);
    await writer.stop();
    await untilAllPublished(database, 30_000);

    const messages = await stream.messages();
    const published = new Set(messages.map(({ event }) => event.id));
    expect([...writer.committed].filter((id) => !published.has(id))).toEqual([]);
    const versions = versionsBySubject(messages);
    for (const subject of writer.subjects) {
      // Some of what was new is there twice: before the replay and in it.
      const of = versions.get(subject) ?? [];
      const sinceReplay = of.slice(of.lastIndexOf(Math.min(...of)));
      expect(sinceReplay).toEqual(sinceReplay.toSorted((a, b) => a - b));
    }
  });
});
