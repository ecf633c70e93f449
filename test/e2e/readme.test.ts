import { afterEach, expect, test } from "@jest/globals";

import { atAddress, brokenPromises, readmeSteps, runSteps } from "../support/readme.ts";
import { startRollcall, type Rollcall } from "../support/rollcall-process.ts";

let nodes: Rollcall[] = [];

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  nodes = [];
});

test("the tour prints what the README says", async () => {
  const steps = await readmeSteps("A tour");
  const node = await startRollcall();
  nodes.push(node);

  const outcomes = await runSteps(steps.map((step) => atAddress(step, node.url)));

  expect(outcomes.length).toBeGreaterThan(0);
  expect(brokenPromises(outcomes)).toEqual([]);
}, 60_000);
