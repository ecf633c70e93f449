import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { afterEach, beforeEach, expect, test } from "@jest/globals";

/*
 * Programs that are missing or do not answer are stood in for by ones of that name. The secrets are looked at, as those
 * that are made too early would be others than those of the data.
 */

const ROOT = join(import.meta.dirname, "../../..");

/** A copy of what the commands need, so that nothing is written into the checkout. */
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "rollcall-commands-"));
  for (const path of ["Makefile", "package.json", "scripts"]) {
    cpSync(join(ROOT, path), join(folder, path), { recursive: true });
  }
  mkdirSync(join(folder, "k8s"));
});

afterEach(() => rmSync(folder, { recursive: true }));

/** Runs a command with a program that does this, in the language of sh. */
function run(command: readonly [string, ...string[]], program: string, body: string) {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, program), `#!/bin/sh\n${body}\n`);
  chmodSync(join(bin, program), 0o755);
  const [file, ...args] = command;
  const PATH = [bin, process.env["PATH"]].join(delimiter);
  return spawnSync(file, args, { cwd: folder, encoding: "utf8", env: { PATH } });
}

test("`make up` says that Docker does not answer, and makes no secrets", () => {
  const { status, stderr } = run(["make", "up"], "docker", "exit 1");

  expect(status).toBe(2);
  expect(stderr).toMatch(/^Docker does not answer\. Is it running, and may this user use it\?/);
  expect(existsSync(join(folder, "secrets"))).toBe(false);
});

test("`make up` says that compose is missing, and makes no secrets", () => {
  const { status, stderr } = run(["make", "up"], "docker", '[ "$1" = info ]');

  expect(status).toBe(2);
  expect(stderr).toMatch(/^This needs the plugin compose of Docker: /);
  expect(existsSync(join(folder, "secrets"))).toBe(false);
});

test("a deployment says that there is no cluster, and makes no secrets", () => {
  const { status, stderr } = run(["scripts/deploy.sh", "rollcall:0.1.0"], "kubectl", "exit 1");

  expect(status).toBe(1);
  expect(stderr).toMatch(/^kubectl reaches no cluster; 'kubectl version' says why\./);
  expect(existsSync(join(folder, "k8s/secrets"))).toBe(false);
});
