import { afterEach, beforeEach, expect, test } from "@jest/globals";

import { call } from "../../lib/contracts.ts";
import { addUser, openSharedStorage, uploadImage, type SharedStorage } from "../support/image-uploads.ts";
import { startTestNodes, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let shared: SharedStorage;

beforeEach(async () => {
  [nodes, shared] = await Promise.all([startTestNodes(), openSharedStorage()]);
});

afterEach(async () => {
  await nodes.stop();
  shared.storage.close();
});

test("events of many users' images that come at once leave each other enough connections of the database", async () => {
  // One for the event, and one for the change of the user.
  await nodes.start({ SERVICES: "users", DATABASE_POOL_MAX: "2" });
  const { broker } = await nodes.start({ SERVICES: "images", ...shared.settings });
  const ids = await Promise.all(Array.from({ length: 12 }, () => addUser(broker)));
  for (const id of ids) await uploadImage({ broker, storage: shared.storage }, id);

  await nodes.sql(`
    CREATE TABLE failures AS SELECT error_type FROM events.retry;
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO failures VALUES (NEW.error_type);
      RETURN NEW;
    END $$;
    CREATE TRIGGER note BEFORE INSERT OR UPDATE ON events.retry FOR EACH ROW EXECUTE FUNCTION note()`);
  await nodes.start({ SERVICES: "events" });
  await waitFor(
    async () => {
      const shown = await nodes.sql("SELECT FROM users.users WHERE cardinality(image_urls) = 1");
      return shown.length === ids.length;
    },
    { description: "all users to show their image", intervalMs: 100 },
  );
  // A machine that is busy may be late with an answer. But none has waited in vain for a connection that another one of them had.
  expect(
    await nodes.sql("SELECT FROM failures WHERE error_type IN ('Error', 'SERVICE_NOT_AVAILABLE')"),
  ).toEqual([]);
});

test("a user with more images than one statement could delete is erased with all of them", async () => {
  const { broker } = await nodes.start({ SERVICES: "users,auth,images", ...shared.settings });
  const id = await addUser(broker);
  await uploadImage({ broker, storage: shared.storage }, id);
  await nodes.sql(`
    INSERT INTO images.images
    SELECT (jsonb_populate_record(image, jsonb_build_object('id', gen_random_uuid(), 'hash', md5(n::text)))).*
    FROM images.images AS image, generate_series(1, 2500) AS n`);
  await nodes.sql(`
    CREATE FUNCTION refuse_many() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF (SELECT count(*) FROM gone) > 1000 THEN RAISE EXCEPTION 'too many'; END IF;
      RETURN NULL;
    END $$`);
  await nodes.sql(`
    CREATE TRIGGER refuse_many AFTER DELETE ON images.images REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_many()`);

  await nodes.start({ SERVICES: "events" });
  await call(broker, "users.erase", { id });
  await waitFor(async () => (await nodes.sql("SELECT FROM images.images LIMIT 1")).length === 0, {
    description: "the rows to be gone",
    timeoutMs: 60_000,
  });
  expect(await nodes.sql("SELECT FROM images.deleted")).toEqual([]);
  const { count } = await nodes.sqlOne<{ count: number }>(`
    SELECT count(DISTINCT subject)::integer AS count FROM (
      SELECT type, subject FROM events.outbox UNION ALL SELECT type, subject FROM events.log
    ) AS event WHERE type = 'image-deleted_v1'`);
  expect(count).toBe(2501);
});
