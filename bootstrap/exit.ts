import { StartupError } from "../lib/startup-error.ts";

/**
 * Ends the process because it cannot start. What the operator can mend is said in a sentence; anything else is a
 * defect and comes with its stack.
 */
export function exitBecauseOf(error: unknown): never {
  const isExpected = error instanceof StartupError;
  process.stderr.write(`${isExpected ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exit(isExpected ? error.exitCode : 1);
}
