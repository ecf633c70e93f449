import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { connect } from "nats";

import { readStream } from "../support/event-stream.ts";
import { faultsOf, NO_FAULTS, startEventWriter } from "../support/event-writer.ts";
import { startNatsCluster, type TestNats } from "../support/nats.ts";
import { relayState, untilAllPublished } from "../support/outbox-rows.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

/** Servers elect their leaders anew, for which each waits for up to some seconds. */
const ELECTION_MS = 45_000;

let nodes: TestNodes;
let servers: TestNats[];

beforeAll(async () => {
  [nodes, servers] = await Promise.all([startTestNodes(), startNatsCluster()]);
  const urls = servers.map(({ url }) => url).join(",");
  await nodes.start({ SERVICES: "events", NATS_URL: urls, EVENTS_STREAM_REPLICAS: "3" });
});

afterAll(async () => {
  await nodes.stop();
  await Promise.all(servers.map((server) => server.stop()));
});

/** The server that leads the stream, when all its three replicas are there. */
async function findStreamLeader(): Promise<TestNats | undefined> {
  const connection = await connect({ servers: servers.map(({ url }) => url), reconnect: false });
  try {
    const manager = await connection.jetstreamManager({ checkAPI: false });
    const { cluster } = await manager.streams.info("EVENTS");
    if (cluster?.replicas?.length !== 2 || cluster.replicas.some(({ current }) => !current)) return undefined;
    return servers[Number(cluster.leader?.slice("nats-".length)) - 1];
  } finally {
    await connection.close();
  }
}

test("the server of three that leads the stream is killed under load: nothing is lost, and the order is kept", async () => {
  const writer = startEventWriter(nodes.databaseUrl);
  const untilWritten = async (count: number): Promise<void> => {
    const goal = writer.committed.size + count;
    await waitFor(() => writer.committed.size >= goal, { description: `${count} events to be written` });
  };
  try {
    const leader = await waitFor(findStreamLeader, {
      description: "three replicas of the stream",
      timeoutMs: ELECTION_MS,
    });
    await untilWritten(100);
    await leader?.kill();
    const { published } = await relayState(nodes);
    await untilWritten(100);
    // With one server less.
    await waitFor(async () => (await relayState(nodes)).published > published + 50, {
      description: "events to be published by the two that are left",
      timeoutMs: ELECTION_MS,
    });
    await leader?.restart();
    await untilWritten(100);
  } finally {
    await writer.stop();
  }
  await untilAllPublished(nodes, ELECTION_MS);

  const reader = await waitFor(findStreamLeader, {
    description: "the third replica",
    timeoutMs: ELECTION_MS,
  });
  const messages = await waitFor(() => readStream(reader?.url ?? "").messages(), {
    description: "the stream to be read",
  });
  expect(faultsOf(messages, writer, (await relayState(nodes)).head)).toEqual(NO_FAULTS);
}, 180_000);
