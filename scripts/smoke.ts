/**
 * Runs the tour of the README against a gateway that is up: `node scripts/smoke.ts URL FILE`, where the file holds the
 * password of its admin. It can be run again on the same data for as long as an idempotency key is kept.
 */
import { readFile } from "node:fs/promises";

import { brokenPromises, readmeSteps, runSteps, withLogin } from "../test/support/readme.ts";
import { closeTestRun } from "../test/support/test-run.ts";

const [url, passwordFile] = process.argv.slice(2);
if (url === undefined || !URL.canParse(url) || passwordFile === undefined) {
  console.error("Usage: node scripts/smoke.ts URL FILE_WITH_THE_PASSWORD_OF_THE_ADMIN");
  process.exit(2);
}
try {
  const steps = await readmeSteps("A tour");
  const password = (await readFile(passwordFile, "utf8")).trim();
  const outcomes = await runSteps(steps.map((step) => withLogin(step, { url, password })));
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
