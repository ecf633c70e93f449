import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, expect, test } from "@jest/globals";

import { ADMIN, logIn } from "../support/admin.ts";
import { createTestDatabase, EMPTY_DATABASE } from "../support/databases.ts";
import { startNats } from "../support/nats.ts";
import { noisePicture } from "../support/pictures.ts";
import { freePort } from "../support/ports.ts";
import {
  brokenPromises,
  readmeSteps,
  runSteps,
  untilPrinted,
  withLogin,
  withValues,
} from "../support/readme.ts";
import { startRedis } from "../support/redis.ts";
import { RestClient } from "../support/rest-client.ts";
import { startRollcall } from "../support/rollcall-process.ts";
import { temporaryDir } from "../support/test-run.ts";

let running: { stop(): Promise<unknown> }[] = [];

afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  running = [];
});

test("the tour prints what the README says", async () => {
  const steps = await readmeSteps("A tour");
  const node = await startRollcall({ env: { ADMIN_EMAIL: "", ADMIN_PASSWORD: "" } });
  running.push(node);
  const [, password = ""] = /with the password (\S+):/.exec(node.output) ?? [];

  const outcomes = await runSteps(steps.map((step) => withLogin(step, { url: node.url, password })));

  expect(outcomes.length).toBeGreaterThan(0);
  expect(brokenPromises(outcomes)).toEqual([]);
});

test("images are uploaded as docs/images.md says", async () => {
  const sections = ["Uploading", "Direct upload"].map((heading) => readmeSteps(heading, "docs/images.md"));
  const steps = (await Promise.all(sections)).flat();
  const node = await startRollcall();
  running.push(node);
  const folder = temporaryDir("photo");
  await writeFile(join(folder, "photo.jpg"), await noisePicture({ format: "jpeg" }));
  const token = await logIn(node.url, ADMIN);
  const client = new RestClient(node.url, { token });
  const { json } = await client.get("/api/v1/auth/me");
  client.close();
  const lines = [
    `cd '${folder}'`,
    `api=${node.url}/api/v1`,
    `auth='Authorization: Bearer ${token}'`,
    `id=${(json as { id: string }).id}`,
  ];

  const all = [{ commands: lines.join("\n"), promises: [] }, ...steps];
  const outcomes = await runSteps(all.map((step) => withValues(step, { "http://127.0.0.1:3000": node.url })));

  expect(steps).toHaveLength(5);
  expect(brokenPromises(outcomes)).toEqual([]);
});

test("nodes are started by hand as the README says, on an empty database, and all of them stop at its last command", async () => {
  const steps = await readmeSteps("Run it as nodes");
  const [database, nats, redis] = await Promise.all([
    createTestDatabase(EMPTY_DATABASE),
    startNats({ jetStream: true }),
    startRedis(),
  ]);
  running.push(nats, redis, { stop: () => database.drop() });
  const port = String(await freePort());
  const values = {
    "postgres://rollcall:secret@127.0.0.1:5432/rollcall": database.url,
    "nats://127.0.0.1:4222": nats.url,
    "redis://127.0.0.1:6379": redis.url,
    "PORT=3000": `PORT=${port}`,
    "http://127.0.0.1:3000": `http://127.0.0.1:${port}`,
  };

  // A reader does not stop nodes that are still starting.
  const allStarted = { commands: untilPrinted('"msg":"node started"', 8), promises: [] };
  const all = [...steps.slice(0, -1), allStarted, ...steps.slice(-1)];
  const outcomes = await runSteps(all.map((step) => withValues(step, values)));

  expect(brokenPromises(outcomes)).toEqual([]);
  const output = outcomes.map((outcome) => outcome.output).join("");
  expect(output.match(/"msg":"node started"/g)).toHaveLength(8);
  expect(output.match(/"msg":"node stopped"/g)).toHaveLength(8);
});
