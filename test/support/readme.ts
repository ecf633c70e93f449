import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { signalAll } from "./processes.ts";
import { temporaryDir } from "./test-run.ts";

/** Commands of a document, and what it says that they print. */
export interface ReadmeStep {
  readonly commands: string;
  /** Texts of the lines `# → text` after the commands. */
  readonly promises: readonly string[];
}

/** A step that was run. */
export interface StepOutcome extends ReadmeStep {
  readonly output: string;
}

const ROOT = join(import.meta.dirname, "../..");
const PROMISE = "# → ";
/** Tells the steps in which folder their output is. */
const OUTPUT_VARIABLE = "README_OUTPUT";

/** Where documents say that a node is. */
const ADDRESS = "http://127.0.0.1:3000";
/** What it has for the password of the admin, which differs for each reader. */
const PASSWORD = "what was printed";

/**
 * The `sh` blocks of a section of the README, or of another document, cut after each group of promises.
 *
 * @throws {Error} when there is no such section, or no block in it.
 */
export async function readmeSteps(heading: string, path = "README.md"): Promise<ReadmeStep[]> {
  const text = await readFile(join(ROOT, path), "utf8");
  const section = text.split(/^## /m).find((each) => each.startsWith(`${heading}\n`)) ?? "";
  const blocks = [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
  if (blocks.length === 0) throw new Error(`${path} has no section "${heading}" with commands`);
  return blocks.flatMap(stepsOf);
}

function stepsOf(block: string): ReadmeStep[] {
  const steps: { commands: string; promises: string[] }[] = [];
  for (const line of block.split("\n")) {
    const last = steps.at(-1);
    if (line.startsWith(PROMISE)) last?.promises.push(line.slice(PROMISE.length));
    else if (last && last.promises.length === 0) last.commands += `\n${line}`;
    else steps.push({ commands: line, promises: [] });
  }
  return steps.filter(({ commands }) => commands.trim() !== "");
}

/**
 * Runs the steps one after the other in one bash, which stops at the first command that fails. What they leave running
 * is ended.
 *
 * @param env variables over those of this process
 * @throws {Error} when a command fails, with what its step has printed.
 */
export async function runSteps(
  steps: readonly ReadmeStep[],
  env: Readonly<Record<string, string>> = {},
): Promise<StepOutcome[]> {
  const dir = temporaryDir("readme");
  const outputFile = (index: number): string => join(dir, `step-${index}.txt`);
  const lines = steps.map(({ commands }, index) => `exec > '${outputFile(index)}' 2>&1\n${commands}`);
  const script = join(dir, "steps.sh");
  await writeFile(script, ["set -euo pipefail", ...lines, ""].join("\n"));

  const bash = spawn("bash", [script], {
    cwd: ROOT,
    // A process group of its own, to which its background jobs belong too.
    detached: true,
    stdio: "ignore",
    env: { ...process.env, ...env, [OUTPUT_VARIABLE]: dir },
  });
  const [exitCode] = (await once(bash, "exit")) as [number | null];
  if (bash.pid !== undefined) signalAll([-bash.pid], "SIGKILL");

  const outputs = steps.map((_, index) => readFile(outputFile(index), "utf8").catch(() => undefined));
  const printed = (await Promise.all(outputs)).filter((output) => output !== undefined);
  if (exitCode !== 0) {
    const failed = printed.length - 1;
    throw new Error(`Exit code ${exitCode} of:\n${steps[failed]?.commands}\nIt printed:\n${printed[failed]}`);
  }
  return steps.map((step, index) => ({ ...step, output: printed[index] ?? "" }));
}

/** The command that waits, for a minute at most, until the steps and what they have left running have printed so many lines with a text. */
export function untilPrinted(text: string, lines: number): string {
  const count = `$(cat "$${OUTPUT_VARIABLE}"/*.txt | grep -c '${text}')`;
  return `for _ in {1..600}; do [ "${count}" -ge ${lines} ] && break; sleep 0.1; done`;
}

/** The step as a reader runs it whose node is at this address, with this password of its admin. */
export function withLogin(
  step: ReadmeStep,
  { url, password }: { url: string; password: string },
): ReadmeStep {
  return withValues(step, { [ADDRESS]: url, [PASSWORD]: password });
}

/** The step as a reader runs it who has other values for what the README says. */
export function withValues(step: ReadmeStep, values: Readonly<Record<string, string>>): ReadmeStep {
  const replace = (text: string, [from, to]: [string, string]): string => text.replaceAll(from, to);
  return { ...step, commands: Object.entries(values).reduce(replace, step.commands) };
}

/** The steps that did not print what the README says. */
export function brokenPromises(outcomes: readonly StepOutcome[]): StepOutcome[] {
  return outcomes.filter(({ promises, output }) => !promises.every((text) => output.includes(text)));
}
