import { afterEach, expect, test } from "@jest/globals";

import { readmeSteps, runSteps, type ReadmeStep, type StepOutcome } from "../support/readme.ts";
import { startRollcall, type Rollcall } from "../support/rollcall-process.ts";

/** Where the README says that a node is. */
const ADDRESS = "http://127.0.0.1:3000";

let nodes: Rollcall[] = [];

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  nodes = [];
});

test("the tour prints what the README says", async () => {
  const steps = await readmeSteps("A tour");
  const node = await startRollcall();
  nodes.push(node);

  const outcomes = await runSteps(steps.map((step) => replaceIn(step, { [ADDRESS]: node.url })));

  expect(outcomes.length).toBeGreaterThan(0);
  expect(brokenPromises(outcomes)).toEqual([]);
}, 60_000);

function replaceIn(step: ReadmeStep, values: Readonly<Record<string, string>>): ReadmeStep {
  const commands = Object.entries(values).reduce(
    (text, [from, to]) => text.replaceAll(from, to),
    step.commands,
  );
  return { ...step, commands };
}

function brokenPromises(outcomes: readonly StepOutcome[]): StepOutcome[] {
  return outcomes.filter(({ promises, output }) => !promises.every((text) => output.includes(text)));
}
