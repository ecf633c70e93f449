/**
 * Runs the stages of the test suite: `node scripts/run-tests.ts [stage …]`, all of them by default, and goes on after
 * one that fails. The last line is `N passed, N failed`; the exit code is 0 only when nothing failed.
 *
 * Nothing passes silently: a skipped test, a suite that does not run, a project without tests, a stage that does not
 * end and a process that is left open each count as failed.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";

import { processesOfRun, signalAll } from "../test/support/processes.ts";
import { closeTestRun, RUN_VARIABLE, temporaryDir, testRunDir } from "../test/support/test-run.ts";

interface Stage {
  readonly name: string;
  /** Words after `node`. */
  readonly args: readonly string[];
  /** After this time it hangs: it is ended and counts as failed. Several times what a quiet machine needs. */
  readonly timeoutMs: number;
  /** Name of the jest project whose tests are counted; other stages count as one check. */
  readonly project?: string;
}

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  /** What to look for in what was printed: files, and names of tests. */
  readonly failures: readonly string[];
}

/** What is used of the file that `jest --json` writes. */
interface JestResults {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const ROOT = join(import.meta.dirname, "..");
const MINUTE_MS = 60_000;

const STAGES: readonly Stage[] = [
  { name: "types", args: ["node_modules/typescript/bin/tsc", "--noEmit"], timeoutMs: 3 * MINUTE_MS },
  { name: "lint", args: ["node_modules/oxlint/bin/oxlint"], timeoutMs: 3 * MINUTE_MS },
  {
    name: "format",
    args: ["node_modules/prettier/bin/prettier.cjs", "--check", "."],
    timeoutMs: 3 * MINUTE_MS,
  },
  jestStage("unit", 8 * MINUTE_MS),
  jestStage("contract", 8 * MINUTE_MS),
  // More than there are cores on a small machine: these wait for servers and timers most of the time.
  jestStage("integration", 25 * MINUTE_MS, 3),
  // One file at a time: they start many processes and measure how long faults last.
  jestStage("e2e", 20 * MINUTE_MS, 1),
];

/** Signals that end the run, and the exit codes that shells use for them. */
const INTERRUPTS = [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const;

/** What jest says when something keeps it from ending. It would go on to report success. */
const NOT_ENDING = /failed to exit gracefully|did not exit one second after/;

function jestStage(project: string, timeoutMs: number, workers = 2): Stage {
  const jest = [
    "--experimental-vm-modules",
    "--disable-warning=ExperimentalWarning",
    "node_modules/jest/bin/jest.js",
  ];
  const args = [...jest, "--selectProjects", project, `--maxWorkers=${workers}`];
  return { name: project, args, timeoutMs, project };
}

function chosenStages(names: readonly string[]): readonly Stage[] {
  const unknown = names.filter((name) => !STAGES.some((stage) => stage.name === name));
  if (unknown.length > 0) {
    console.error(`Unknown: ${unknown.join(", ")}. Stages: ${STAGES.map((stage) => stage.name).join(", ")}`);
    process.exit(2);
  }
  return names.length === 0 ? STAGES : STAGES.filter((stage) => names.includes(stage.name));
}

async function runStage(stage: Stage): Promise<Outcome> {
  if (stage.project === undefined) {
    const { isSuccess } = await runNode(stage, stage.args);
    return isSuccess
      ? { passed: 1, failed: 0, failures: [] }
      : { passed: 0, failed: 1, failures: [stage.name] };
  }
  if (!existsSync(join(ROOT, "test", stage.project))) {
    console.log(`There is no folder test/${stage.project}.`);
    return { passed: 0, failed: 0, failures: [] };
  }
  const file = join(temporaryDir("results"), "jest.json");
  const { isSuccess } = await runNode(stage, [...stage.args, "--json", `--outputFile=${file}`]);
  return countTests(isSuccess, await readFile(file, "utf8").catch(() => undefined));
}

function countTests(isSuccess: boolean, json: string | undefined): Outcome {
  if (json === undefined) return { passed: 0, failed: 1, failures: [] };
  const results = JSON.parse(json) as JestResults;
  const passed = results.numPassedTests;
  const skipped = results.numPendingTests + results.numTodoTests;
  const failed = results.numFailedTests + skipped + results.numRuntimeErrorTestSuites;
  const isSilentFailure = failed === 0 && (!isSuccess || passed === 0);
  return { passed, failed: isSilentFailure ? 1 : failed, failures: failuresIn(results) };
}

function failuresIn({ testResults }: JestResults): string[] {
  return testResults.flatMap(({ name, status, assertionResults }) => {
    const file = relative(ROOT, name);
    const tests = assertionResults.filter((test) => test.status !== "passed");
    // A file that cannot be loaded, or leaves something open, has failed as a whole.
    if (tests.length === 0 && status === "failed") return [file];
    return tests.map(({ fullName }) => `${file}: ${fullName}`);
  });
}

/** Runs one stage, shows what it prints, and ends everything it started when its time is over. */
async function runNode({ name, timeoutMs }: Stage, args: readonly string[]): Promise<{ isSuccess: boolean }> {
  const color = process.stdout.isTTY ? { FORCE_COLOR: "1" } : {};
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, ...color },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let isNotEnding = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      process.stdout.write(chunk);
      isNotEnding ||= NOT_ENDING.test(chunk.toString("utf8"));
    });
  }
  let isOvertime = false;
  const timer = setTimeout(() => {
    isOvertime = true;
    endEverything();
  }, timeoutMs);
  const exitCode = await new Promise<number | null>((resolve) => child.once("close", resolve));
  clearTimeout(timer);

  if (isOvertime) console.log(`The stage "${name}" did not end within ${timeoutMs / 1_000} s.`);
  if (isNotEnding) console.log(`The stage "${name}" left something open.`);
  return { isSuccess: exitCode === 0 && !isOvertime && !isNotEnding };
}

/** Ends all processes of this run but this one and the reaper, which do not carry its mark. */
function endEverything(): void {
  signalAll(processesOfRun(RUN_VARIABLE, testRunDir()), "SIGKILL");
}

async function main(): Promise<void> {
  const stages = chosenStages(process.argv.slice(2));
  testRunDir();
  let isInterrupted = false;
  for (const [signal, exitCode] of INTERRUPTS) {
    process.once(signal, () => {
      isInterrupted = true;
      void closeTestRun().finally(() => process.exit(exitCode));
    });
  }
  const summary: string[] = [];
  const failures: string[] = [];
  let [allPassed, allFailed] = [0, 0];
  for (const stage of stages) {
    console.log(`\n── ${stage.name} ──`);
    const startedAt = performance.now();
    const outcome = await runStage(stage);
    if (isInterrupted) return;
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    summary.push(`${stage.name.padEnd(12)} ${outcome.passed} passed, ${outcome.failed} failed, ${seconds} s`);
    failures.push(...outcome.failures.map((failure) => `  ${failure}`));
    allPassed += outcome.passed;
    allFailed += outcome.failed;
  }
  await closeTestRun();
  if (failures.length > 0) summary.push("", "Failed, as said above:", ...failures);
  console.log(`\n${summary.join("\n")}\n\n${allPassed} passed, ${allFailed} failed`);
  process.exitCode = allFailed === 0 ? 0 : 1;
}

await main();
