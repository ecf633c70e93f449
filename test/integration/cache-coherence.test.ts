import { setTimeout as sleep } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { LEASE_MS } from "../../broker/cache/coverage.ts";
import { newUser } from "../support/rest-client.ts";
import { startRedis } from "../support/redis.ts";
import type { TestServer } from "../support/server-process.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { VersionHistory } from "../support/version-history.ts";
import { waitFor } from "../support/wait-for.ts";

const USERS = 9;

let nodes: TestNodes;
let redis: TestServer;
let brokers: ServiceBroker[];
let ids: string[];
let history: VersionHistory;

beforeEach(async () => {
  [nodes, redis] = await Promise.all([startTestNodes(), startRedis()]);
  const start = (id: string) =>
    nodes.start({ SERVICES: "users", NODE_ID: id, REDIS_URL: redis.url, REDIS_TIMEOUT_MS: "50" });
  brokers = (await Promise.all(["a", "b", "c"].map(start))).map(({ broker }) => broker);
  const create = async () => (await call(brokers[0] as ServiceBroker, "users.create", newUser())).id;
  ids = await Promise.all(Array.from({ length: USERS }, create));
  history = new VersionHistory(LEASE_MS);
});

afterEach(async () => {
  redis.thaw();
  await nodes.stop();
  await redis.stop();
});

const pick = <T>(of: readonly T[]): T => of[Math.floor(Math.random() * of.length)] as T;

/**
 * Readers and writers on every node, with random pauses, until `isOver`. Each user has one node that writes it: the
 * others learn of its changes in no other way than by being told.
 */
async function useAllNodes(isOver: () => boolean): Promise<void> {
  const write = async (broker: ServiceBroker): Promise<void> => {
    const own = ids.filter((_, index) => brokers[index % brokers.length] === broker);
    while (!isOver()) {
      const id = pick(own);
      const { version } = await call(broker, "users.update", { id, nickname: `nick ${Math.random()}` });
      history.acknowledged(broker.nodeID, id, version);
      await sleep(Math.random() * 30);
    }
  };
  const read = async (broker: ServiceBroker): Promise<void> => {
    while (!isOver()) {
      const id = pick(ids);
      await history.check(broker.nodeID, id, () => call(broker, "users.get", { id }));
      await sleep(Math.random() * 5);
    }
  };
  await Promise.all(brokers.flatMap((broker) => [write(broker), read(broker), read(broker), read(broker)]));
}

/** Uses all nodes while `disturb` runs, and for a while before and after it. */
async function disturbed(disturb: () => Promise<void>): Promise<void> {
  let isOver = false;
  const using = useAllNodes(() => isOver);
  await sleep(1000);
  await disturb();
  await sleep(LEASE_MS + 1000);
  await waitFor(() => history.writes > 50 && history.reads > 200, { description: "more writes and reads" });
  isOver = true;
  await using;
}

describe("no read is older than what its node has acknowledged, or any node before the bound,", () => {
  test("while Redis is restarted", async () => {
    await disturbed(() => redis.restart());
    expect(history.staleReads).toEqual([]);
  });

  test("while Redis is frozen for longer than the bound", async () => {
    await disturbed(async () => {
      redis.freeze();
      await sleep(LEASE_MS + 1000);
      redis.thaw();
    });
    expect(history.staleReads).toEqual([]);
  });

  test("while Redis freezes again and again for a moment", async () => {
    await disturbed(async () => {
      for (let count = 0; count < 10; count += 1) {
        redis.freeze();
        await sleep(Math.random() * 200);
        redis.thaw();
        await sleep(Math.random() * 200);
      }
    });
    expect(history.staleReads).toEqual([]);
  });

  test("while NATS is restarted", async () => {
    await disturbed(() => nodes.nats.restart());
    expect(history.staleReads).toEqual([]);
  });
});
