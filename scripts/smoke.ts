/**
 * Runs the tour of the README against a gateway that is up: `node scripts/smoke.ts http://127.0.0.1:3000`. It can be
 * run again on the same data for as long as an idempotency key is kept.
 */
import { atAddress, brokenPromises, readmeSteps, runSteps } from "../test/support/readme.ts";
import { closeTestRun } from "../test/support/test-run.ts";

const [url] = process.argv.slice(2);
if (url === undefined || !URL.canParse(url)) {
  console.error("Usage: node scripts/smoke.ts URL");
  process.exit(2);
}
try {
  const steps = await readmeSteps("A tour");
  const outcomes = await runSteps(steps.map((step) => atAddress(step, url)));
  const broken = brokenPromises(outcomes);
  for (const { commands, promises, output } of broken) {
    console.error(`${commands}\nshould print:\n${promises.join("\n")}\nand printed:\n${output}\n`);
  }
  console.log(
    `${outcomes.length - broken.length} of ${outcomes.length} steps of the tour are as the README says.`,
  );
  process.exitCode = broken.length === 0 ? 0 : 1;
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  await closeTestRun();
}
