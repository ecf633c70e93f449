import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

import { afterEach, expect, test } from "@jest/globals";

const MODULE = fileURLToPath(new URL("../../../lib/log-output.ts", import.meta.url));
/** Far more than a pipe holds. */
const LINES = Array.from({ length: 5000 }, (_, index) => `${index} ${"x".repeat(200)}\n`);
const LOG_ALL = `
  const { standardOutput } = await import(${JSON.stringify(MODULE)});
  const log = standardOutput();
  for (let index = 0; index < ${LINES.length}; index += 1) {
    log.write(index + " " + "x".repeat(200) + "\\n");
    if (index % 10 === 0) await new Promise(setImmediate);
  }`;

let child: ChildProcess & { stdout: Readable };

/** Runs code as a process whose standard output nobody reads yet. */
function run(code: string): void {
  const stdio = ["ignore", "pipe", "inherit", "ipc"] as const;
  child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
    stdio: [...stdio],
  }) as typeof child;
}

afterEach(() => {
  child.kill("SIGKILL");
});

test("a reader that takes nothing is not waited for, and gets all lines once it reads", async () => {
  run(`${LOG_ALL}; process.send("logged"); process.once("message", () => process.disconnect());`);
  expect(await once(child, "message")).toEqual(["logged", undefined]);
  const output = text(child.stdout);
  child.send("end");
  expect(await output).toBe(LINES.join(""));
});

test("what a process has logged before it exits is written", async () => {
  run(`${LOG_ALL}; process.exit(3);`);
  const ended = once(child, "exit");
  expect(await text(child.stdout)).toBe(LINES.join(""));
  expect(await ended).toEqual([3, null]);
});

test("a process whose log nobody reads ends all the same", async () => {
  run(`${LOG_ALL}; process.exit(3);`);
  expect(await once(child, "exit")).toEqual([3, null]);
});

test("a process goes on when the reader of its log is gone", async () => {
  run(`process.once("message", async () => { ${LOG_ALL}; process.send("logged"); process.disconnect(); });`);
  child.stdout.destroy();
  const [logged, ended] = [once(child, "message"), once(child, "exit")];
  child.send("log");
  expect(await logged).toEqual(["logged", undefined]);
  expect(await ended).toEqual([0, null]);
});
