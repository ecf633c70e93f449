import { randomUUID } from "node:crypto";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { cacheKey } from "../../broker/cache/cache-key.ts";
import { changeCache } from "../../broker/cache/cacher.ts";
import { entryOf } from "../../broker/cache/entry.ts";
import { cacherOf, CachedValues } from "../support/cached-values.ts";
import { startNats } from "../support/nats.ts";
import type { TestServer } from "../support/server-process.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { createTestBroker } from "../support/test-broker.ts";
import { waitFor } from "../support/wait-for.ts";

/** More than a node remembers one by one. */
const MANY = 10_500;

let nats: TestServer;
let proxy: TcpProxy;
let source: CachedValues;
/** Reaches NATS by way of the proxy. */
let cutOff: ServiceBroker;
let other: ServiceBroker;

beforeEach(async () => {
  nats = await startNats();
  proxy = await startTcpProxy(nats.url);
  source = new CachedValues();
  [cutOff, other] = await Promise.all([startNode("cut-off", proxy.url), startNode("other", nats.url)]);
});

afterEach(async () => {
  await Promise.all([cutOff.stop(), other.stop()]);
  await proxy.stop();
  await nats.stop();
});

/** A node without Redis, which can tell others of changes only through NATS. */
async function startNode(nodeId: string, natsUrl: string): Promise<ServiceBroker> {
  const broker = createTestBroker({ NODE_ID: nodeId, NATS_URL: natsUrl });
  broker.createService(source.service());
  await broker.start();
  await cacherOf(broker);
  return broker;
}

/** Has the other node keep a value, and returns its key. */
async function keepValue(): Promise<string> {
  const key = randomUUID();
  source.values.set(key, { version: 1 });
  await other.call("values.get", { key });
  return key;
}

/** What a unit of work on the node that is cut off does after its commit. */
async function change(...keys: string[]): Promise<void> {
  for (const key of keys) {
    source.values.set(key, { version: 2 });
    await changeCache(cutOff, [cacheKey("values.get", { key })], entryOf({ version: 2 }));
  }
}

const untilHeard = (key: string): Promise<unknown> =>
  waitFor(async () => (await other.call<{ version: number }, object>("values.get", { key })).version === 2, {
    description: "the other node to hear of the change",
  });

describe("what a node changes that has lost its connection to NATS", () => {
  test("the others hear when it has another one", async () => {
    const key = await keepValue();
    await proxy.cut();
    await change(key);
    await proxy.mend();
    await expect(untilHeard(key)).resolves.toBe(true);
  });

  test("the others hear also when it did not know yet that it had lost it", async () => {
    const key = await keepValue();
    proxy.silence();
    await change(key);
    await proxy.mend();
    await expect(untilHeard(key)).resolves.toBe(true);
  });

  test("the others hear also when it is more than the node remembers", async () => {
    const key = await keepValue();
    await proxy.cut();
    await change(key, ...Array.from({ length: MANY }, () => randomUUID()));
    await proxy.mend();
    await expect(untilHeard(key)).resolves.toBe(true);
  });
});
