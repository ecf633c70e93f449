import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { expect, test } from "@jest/globals";

import { startCluster } from "../support/rollcall-cluster.ts";
import { temporaryDir } from "../support/test-run.ts";

const COMPILE = join(import.meta.dirname, "../../bootstrap/compile.js");

test("after an install, no node has TypeScript left to compile", async () => {
  const NODE_COMPILE_CACHE = temporaryDir("compiled");
  await promisify(execFile)(process.execPath, [COMPILE], { env: { ...process.env, NODE_COMPILE_CACHE } });

  // The login of the admin also starts the thread that hashes passwords.
  const cluster = await startCluster({
    NODE_COMPILE_CACHE,
    NODE_DEBUG_NATIVE: "COMPILE_CACHE",
    METRICS_PORT: "0",
  });
  await cluster.addEventsNode();
  await cluster.stop();

  const lines = cluster.nodes.flatMap(({ output }) => output.split("\n"));
  const said = (words: string): string[] => lines.filter((line) => line.includes(words));
  expect(said("retrieving transpile cache for StrippedTypeScript").length).toBeGreaterThan(100);
  expect(said("password-worker.ts").length).toBeGreaterThan(0);
  expect(said("no transpile cache")).toEqual([]);
});
