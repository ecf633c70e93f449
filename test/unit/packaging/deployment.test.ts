import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { afterEach, beforeEach, expect, test } from "@jest/globals";

/*
 * Programs are stood in for by ones of that name. The secrets are looked at, as those that are made too early would be
 * others than those of the data.
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

/** Runs a command with programs that do this, in the language of sh. */
function run(command: readonly [string, ...string[]], programs: Readonly<Record<string, string>>) {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  for (const [program, body] of Object.entries(programs)) {
    writeFileSync(join(bin, program), `#!/bin/sh\n${body}\n`);
    chmodSync(join(bin, program), 0o755);
  }
  const [file, ...args] = command;
  const PATH = [bin, process.env["PATH"]].join(delimiter);
  return spawnSync(file, args, { cwd: folder, encoding: "utf8", env: { PATH } });
}

test("`make up` says that Docker does not answer, and makes no secrets", () => {
  const { status, stderr } = run(["make", "up"], { docker: "exit 1" });

  expect(status).toBe(2);
  expect(stderr).toMatch(/^Docker does not answer\. Is it running, and may this user use it\?/);
  expect(existsSync(join(folder, "secrets"))).toBe(false);
});

test("`make up` says that compose is missing, and makes no secrets", () => {
  const { status, stderr } = run(["make", "up"], { docker: '[ "$1" = info ]' });

  expect(status).toBe(2);
  expect(stderr).toMatch(/^This needs the plugin compose of Docker: /);
  expect(existsSync(join(folder, "secrets"))).toBe(false);
});

test("a deployment says that there is no cluster, and makes no secrets", () => {
  const { status, stderr } = run(["scripts/deploy.sh", "rollcall:0.1.0"], { kubectl: "exit 1" });

  expect(status).toBe(1);
  expect(stderr).toMatch(/^kubectl reaches no cluster; 'kubectl version' says why\./);
  expect(existsSync(join(folder, "k8s/secrets"))).toBe(false);
});

test.each([
  {
    context: "kind-two-words",
    applied: "k8s-kind",
    loaded: ["load docker-image rollcall:0.1.0 --name two-words"],
  },
  { context: "production", applied: "k8s", loaded: [] },
])("a deployment to $context applies $applied", ({ context, applied, loaded }) => {
  const kubectl = `
    echo "$*" >>"${folder}/kubectl"
    case "$*" in
      "config current-context") echo ${context} ;;
      *"get statefulset postgres") exit 1 ;;
    esac`;
  const { status, stderr } = run(["scripts/deploy.sh", "rollcall:0.1.0"], {
    kubectl,
    kind: `echo "$*" >>"${folder}/kind"`,
  });

  expect([status, stderr]).toEqual([0, ""]);
  expect(linesOf("kubectl").filter((line) => line.startsWith("apply"))).toEqual(
    ["tier notin (migration, node)", "tier=migration", "tier=node"].map(
      (selector) => `apply --kustomize ${applied} --selector ${selector}`,
    ),
  );
  expect(linesOf("kind")).toEqual(loaded);
});

/** What a program that stands in has noted. */
function linesOf(file: string): string[] {
  const path = join(folder, file);
  return existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
}
