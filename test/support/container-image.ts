import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

/** An instruction of the Dockerfile, in upper case, and what follows it, on one line. */
export interface Instruction {
  readonly name: string;
  readonly words: string;
}

/** The instructions of each stage; the last one is the image. */
export function dockerfileStages(): Instruction[][] {
  const text = readFileSync(join(ROOT, "Dockerfile"), "utf8")
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\\\n\s*/g, "");
  const stages: Instruction[][] = [];
  for (const line of text.split("\n").filter((each) => each !== "")) {
    const [, name = "", words = ""] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
    if (name === "FROM") stages.push([]);
    stages.at(-1)?.push({ name, words });
  }
  return stages;
}

/** What follows an instruction in the image's own stage, once for each time it is there. */
export function imageInstructions(name: string): string[] {
  const image = dockerfileStages().at(-1) ?? [];
  return image.filter((instruction) => instruction.name === name).map(({ words }) => words);
}

/** The variables that the image sets. */
export function imageEnvironment(): Record<string, string> {
  const assignments = imageInstructions("ENV").flatMap((words) => words.split(/\s+/));
  return parseEnvFile(assignments.join("\n"));
}

/** Lines `NAME=value`; those that start with `#` are comments. */
export function parseEnvFile(text: string): Record<string, string> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}
