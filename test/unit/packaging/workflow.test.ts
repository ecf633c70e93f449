import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "@jest/globals";
import { parse } from "yaml";

const ROOT = join(import.meta.dirname, "../../..");
const makefile = readFileSync(join(ROOT, "Makefile"), "utf8");

interface Workflow {
  jobs: Record<string, { steps: { uses?: string; run?: string; if?: string }[] }>;
}

const workflow = parse(readFileSync(join(ROOT, ".github/workflows/ci.yml"), "utf8")) as Workflow;
const commands = Object.values(workflow.jobs).flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));

test("the continuous integration runs the tests, builds the image and deploys it, by the commands of the Makefile", () => {
  expect(commands).toEqual(
    expect.arrayContaining(["make test", "make image", "make up", "make smoke", "make deploy-all"]),
  );
  const targets = new Set([...makefile.matchAll(/^([a-z0-9-]+):/gm)].map(([, target = ""]) => target));
  const made = commands.flatMap((command) => /^make (\S+)$/.exec(command)?.[1] ?? []);
  expect(made.filter((target) => !targets.has(target))).toEqual([]);
});

test("every target of the Makefile is declared phony, lest a file of its name keep it from running", () => {
  const targets = [...makefile.matchAll(/^([a-z0-9-]+):/gm)].map(([, target = ""]) => target);
  const [, phony = ""] = /^\.PHONY: ((?:.*\\\n)*.*)$/m.exec(makefile) ?? [];
  expect(phony.split(/[\s\\]+/).toSorted()).toEqual(targets.toSorted());
});

test("a Makefile target for a service is there for each one in the cluster", () => {
  expect(makefile).toMatch(/^logs-%:.*\n.*app\.kubernetes\.io\/component=\$\*/m);
});
