import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { startNats } from "../support/nats.ts";
import type { TestServer } from "../support/server-process.ts";
import { createTestBroker } from "../support/test-broker.ts";
import { waitFor } from "../support/wait-for.ts";

/** Far below the 15 s for which a broker waits for calls that are under way. */
const AT_ONCE_MS = 8000;

let nats: TestServer;
let caller: ServiceBroker;
let owner: ServiceBroker;
/** Lets the calls of `work.wait` end. */
let release: PromiseWithResolvers<string>;

beforeEach(async () => {
  release = Promise.withResolvers();
  nats = await startNats();
  caller = createTestBroker({ NODE_ID: "caller", NATS_URL: nats.url });
  owner = createTestBroker({ NODE_ID: "owner", NATS_URL: nats.url });
  owner.createService({ name: "work", actions: { wait: () => release.promise } });
  await Promise.all([caller.start(), owner.start()]);
  await caller.waitForServices("work");
});

afterEach(async () => {
  release.resolve("done");
  await Promise.all([caller, owner].map((broker) => broker.stop()));
  await nats.stop();
});

describe("a node that stops", () => {
  test("does not wait for calls that timed out before", async () => {
    const calls = [1, 2, 3].map(() => caller.call("work.wait", {}, { timeout: 50, retries: 0 }));
    await Promise.all(calls.map((call) => expect(call).rejects.toMatchObject({ type: "REQUEST_TIMEOUT" })));

    const startedAt = performance.now();
    await caller.stop();
    expect(performance.now() - startedAt).toBeLessThan(AT_ONCE_MS);
  });

  test("waits for the answers of calls that are under way", async () => {
    const call = caller.call("work.wait");
    const stopped = caller.stop();
    await waitFor(() => caller.stopping, { description: "the stop to be under way" });
    release.resolve("answered");
    await stopped;
    await expect(call).resolves.toBe("answered");
  });
});
