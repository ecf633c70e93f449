import { isErrorCode } from "../lib/error-catalogue.ts";
import { StartupError } from "../lib/startup-error.ts";

/**
 * Ends the process because it cannot start, or a command because it cannot go on. What the operator can mend is said in
 * a sentence; anything else is a defect and comes with its stack.
 */
export function exitBecauseOf(error: unknown): never {
  process.stderr.write(`${messageOf(error as Error)}\n`);
  process.exit(error instanceof StartupError ? error.exitCode : 1);
}

function messageOf(error: Error & { type?: unknown }): string {
  const { type, message, cause, stack } = error;
  if (error instanceof StartupError) return message;
  if (!isErrorCode(type) || type === "INTERNAL_ERROR") return stack ?? String(error);
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}
