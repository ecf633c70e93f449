import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { uploadKey } from "../../lib/media-path.ts";
import { FaultyStorage, imagesOn, storageAway } from "../support/faulty-storage.ts";
import {
  addUser,
  openSharedStorage,
  pngBytes,
  putBytes,
  putUpload,
  uploadImage,
  type SharedStorage,
} from "../support/image-uploads.ts";
import { ask, withKey } from "../support/requests.ts";
import { launchRollcall } from "../support/rollcall-process.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let shared: SharedStorage;
let faulty: FaultyStorage;
/** In front of the database of the images node. */
let proxy: TcpProxy;
let broker: ServiceBroker;
let userId: string;

beforeAll(async () => {
  [nodes, shared] = await Promise.all([startTestNodes(), openSharedStorage()]);
  faulty = new FaultyStorage(shared.storage);
  proxy = await startTcpProxy(nodes.databaseUrl);
  await nodes.start({ SERVICES: "users" });
  const settings = { SERVICES: "none", DATABASE_URL: proxy.url, ...shared.settings };
  await nodes.start(settings, undefined, [imagesOn(faulty)]);
  ({ broker } = await nodes.start({ SERVICES: "none", NODE_ID: "caller" }));
  userId = await addUser(broker);
});

afterEach(async () => {
  faulty.mend();
  await nodes.sql("DROP TRIGGER IF EXISTS fault ON images.images");
  await nodes.sql("DELETE FROM images.removals");
});

afterAll(async () => {
  await nodes.stop();
  await proxy.stop();
  shared.storage.close();
});

const upload = (options: Parameters<typeof uploadImage>[2] = {}) =>
  uploadImage({ broker, storage: shared.storage }, userId, options);

interface State {
  keys: string[];
  rows: unknown[];
  removals: unknown[];
}

/** Everything that there is of images. */
async function stateOfImages(): Promise<State> {
  const [keys, rows, removals] = await Promise.all([
    shared.keys(),
    nodes.sql("SELECT id FROM images.images ORDER BY id"),
    nodes.sql("SELECT image_id FROM images.removals"),
  ]);
  return { keys, rows, removals };
}

/** Waits until all is as it was before; what is left to a later time, of attempts that are over, is due now. */
async function untilBackTo(before: State): Promise<void> {
  await waitFor(
    async () => {
      await nodes.sql("UPDATE images.removals SET not_before = now()");
      expect(await stateOfImages()).toEqual(before);
      return true;
    },
    { description: "nothing to be left of the attempt", intervalMs: 200 },
  );
}

/** Has a function run whenever the row of an image is written. */
async function onInsert(body: string, timing: "AFTER INSERT" | "DEFERRED"): Promise<void> {
  await nodes.sql(
    `CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} RETURN NULL; END $$`,
  );
  await nodes.sql(
    timing === "DEFERRED"
      ? `CREATE CONSTRAINT TRIGGER fault AFTER INSERT ON images.images
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fault()`
      : "CREATE TRIGGER fault AFTER INSERT ON images.images FOR EACH ROW EXECUTE FUNCTION fault()",
  );
}

describe("neither row nor bytes are left", () => {
  // The original and four files, of which several are under way together.
  test.each([1, 2, 3, 4, 5])("when the storage fails at object %i", async (failing) => {
    const before = await stateOfImages();
    let count = 0;
    faulty.onPut = async () => {
      count += 1;
      if (count >= failing) throw storageAway();
    };
    await expect(upload()).rejects.toMatchObject({ type: "STORAGE_UNAVAILABLE", retryable: true });
    expect(count).toBeGreaterThanOrEqual(failing);
    const { keys, rows } = await stateOfImages();
    expect({ keys, rows }).toEqual({ keys: before.keys, rows: before.rows });
  });

  test("when the storage writes a file after it was given up", async () => {
    const before = await stateOfImages();
    const givenUp: string[] = [];
    faulty.onPut = async (key) => {
      givenUp.push(key);
      throw storageAway();
    };
    await expect(upload()).rejects.toMatchObject({ type: "STORAGE_UNAVAILABLE" });
    // Of one attempt: the call is not repeated by the broker.
    expect(new Set(givenUp.map((key) => /[\da-f]{64}/.exec(key)?.[0])).size).toBe(1);
    for (const key of givenUp) await putBytes(shared.storage, key, await pngBytes());
    expect((await stateOfImages()).keys).toHaveLength(before.keys.length + givenUp.length);
    expect(await call(broker, "images.reconcile", { fix: false })).toMatchObject({ found: 0 });
    await untilBackTo(before);
  });

  test("when the row cannot be written", async () => {
    const before = await stateOfImages();
    await onInsert("RAISE EXCEPTION 'no';", "AFTER INSERT");
    await expect(upload()).rejects.toMatchObject({ type: "INTERNAL_ERROR" });
    expect(await stateOfImages()).toEqual(before);
  });

  test("when the storage stays away after it failed: the bytes go when it is back", async () => {
    const before = await stateOfImages();
    let count = 0;
    faulty.onPut = async () => {
      count += 1;
      if (count > 3) throw storageAway();
    };
    faulty.onRemove = () => Promise.reject(storageAway());
    await expect(upload()).rejects.toMatchObject({ type: "STORAGE_UNAVAILABLE" });
    const left = await stateOfImages();
    expect(left.keys.length).toBeGreaterThan(before.keys.length);
    expect(left.removals).toHaveLength(1);
    // What is going to be removed is nothing to be told of.
    expect(await call(broker, "images.reconcile", { fix: false })).toMatchObject({ found: 0 });

    faulty.mend();
    await untilBackTo(before);
  });

  test("when PostgreSQL ends the session at the commit", async () => {
    const before = await stateOfImages();
    await onInsert("PERFORM pg_terminate_backend(pg_backend_pid());", "DEFERRED");
    await expect(upload()).rejects.toMatchObject({ type: "DATABASE_UNAVAILABLE" });
    await untilBackTo(before);
  });
});

test("the row of an image is written while its bytes are", async () => {
  const isNoteLocked = async (): Promise<boolean> => {
    const notes = await nodes.sql("SELECT FROM images.removals");
    const free = await nodes.sql("SELECT FROM images.removals FOR UPDATE SKIP LOCKED");
    return notes.length === 1 && free.length === 0;
  };
  let locked: Promise<unknown> | undefined;
  faulty.onPut = async () => {
    await (locked ??= waitFor(isNoteLocked, {
      description: "the row to be written, with which the note goes",
    }));
  };
  await expect(upload()).resolves.toMatchObject({ userId });
});

test("an image whose commit is not answered is there with its bytes, and the repetition is a replay", async () => {
  const key = randomUUID();
  const bytes = await pngBytes("#0a0b0c");
  const lost = proxy.loseAnswer("COMMIT\0");
  await expect(upload({ bytes, ...withKey(key) })).rejects.toMatchObject({ type: "DATABASE_UNAVAILABLE" });
  await lost;

  const arrived = await putUpload(shared.storage, bytes);
  const params = { id: userId, visibility: "public", ...arrived } as const;
  const again = await waitFor(() => ask(broker, "images.create", params, withKey(key)), {
    description: "the database to be reached again",
  });
  await shared.storage.remove([uploadKey(arrived.uploadId)]);
  expect(again.isReplay).toBe(true);
  const [, hash = ""] = /([\da-f]{64})/.exec(JSON.stringify(again.result.urls)) ?? [];
  expect((await shared.keys()).filter((each) => each.includes(hash))).toHaveLength(5);
  expect((await stateOfImages()).removals).toEqual([]);
});

test("an image that is deleted while the storage is away is gone at once, and its bytes when the storage is back", async () => {
  const before = await stateOfImages();
  const { id } = await upload();
  faulty.onRemove = () => Promise.reject(storageAway());
  await call(broker, "images.delete", { id });
  await expect(call(broker, "images.get", { id })).rejects.toMatchObject({ type: "IMAGE_NOT_FOUND" });
  expect((await stateOfImages()).removals).toHaveLength(1);
  faulty.mend();
  await untilBackTo(before);
});

test("a process that is killed while it writes leaves nothing for long", async () => {
  const before = await stateOfImages();
  const killed = launchRollcall({
    env: {
      ...shared.settings,
      SERVICES: "images",
      NODE_ID: "killed",
      DATABASE_URL: nodes.databaseUrl,
      NATS_URL: nodes.nats.url,
      SECRET: "the same on all nodes, as they read each other's cursors",
      // It waits for the lock until it is killed, however long that takes.
      REQUEST_TIMEOUT_MS: "60000",
      DATABASE_STATEMENT_TIMEOUT_MS: "50000",
    },
  });
  await waitFor(
    () => broker.registry.getNodeList({ onlyAvailable: true }).some(({ id }) => id === "killed"),
    {
      description: "the process to be there",
    },
  );
  await waitFor(() => call(broker, "images.health", {}, { nodeID: "killed" }), {
    description: "it to answer",
  });
  await upload();
  const settled = await stateOfImages();
  // Its bytes are written, its row cannot be: the owner is locked.
  const lock = await nodes.openTransaction([
    "SELECT FROM images.owners WHERE user_id = $1 FOR UPDATE",
    [userId],
  ]);
  const attempt = upload({ nodeID: "killed", timeout: 60_000 }).catch((error: unknown) => error);
  await waitFor(async () => (await stateOfImages()).keys.length >= settled.keys.length + 5, {
    description: "the bytes to be written",
  });
  await killed.kill();
  await lock.rollback();
  expect(await attempt).toBeInstanceOf(Error);
  expect((await stateOfImages()).rows).toEqual(settled.rows);
  expect(await call(broker, "images.reconcile", { fix: false })).toMatchObject({ found: 0 });

  await untilBackTo(settled);
  expect(settled.keys.length).toBe(before.keys.length + 5);
});

test("uploads that are more than a node can work on are refused, and leave nothing", async () => {
  await nodes.start({
    SERVICES: "images",
    NODE_ID: "small",
    ...shared.settings,
    IMAGE_WORKERS: "1",
    IMAGE_QUEUE_MAX: "1",
  });
  const before = await stateOfImages();
  const bytes = await pngBytes();
  const arrived = await Promise.all(Array.from({ length: 8 }, () => putUpload(shared.storage, bytes)));
  const create = (params: (typeof arrived)[number]) =>
    call(broker, "images.create", { id: userId, visibility: "public", ...params }, { nodeID: "small" });
  const outcomes = await Promise.allSettled(arrived.map(create));
  await shared.storage.remove(arrived.map(({ uploadId }) => uploadKey(uploadId)));
  const refusals = outcomes.flatMap((each) => (each.status === "rejected" ? [each.reason as object] : []));
  expect(refusals.length).toBeGreaterThan(0);
  expect(refusals.length).toBeLessThan(8);
  for (const reason of refusals) expect(reason).toMatchObject({ type: "OVERLOADED", retryable: true });
  const after = await stateOfImages();
  expect(after.rows).toHaveLength(before.rows.length + 8 - refusals.length);
  expect(after.keys).toHaveLength(before.keys.length + 5 * (8 - refusals.length));
  expect(after.removals).toEqual([]);
});

test("a storage may take longer than other transactions may be idle", async () => {
  const settings = { SERVICES: "none", NODE_ID: "strict", DATABASE_STATEMENT_TIMEOUT_MS: "3000" };
  await nodes.start({ ...settings, ...shared.settings }, undefined, [imagesOn(faulty)]);
  faulty.onPut = async (key) => {
    if (key.startsWith("originals/")) await sleep(4000);
  };
  await expect(upload({ nodeID: "strict" })).resolves.toMatchObject({ userId });
});
