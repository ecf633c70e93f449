import { inspect } from "node:util";
import { isDatabaseAway } from "../lib/database-errors.ts";

/** Why an attempt failed. */
export interface Failure {
  attempts: number;
  errorType: string;
  errorMessage: string;
}

const MAX_MESSAGE_LENGTH = 1000;

/** What a handler has thrown, an error or not, as it is kept. */
export function describe(error: unknown): Omit<Failure, "attempts"> {
  const { type, name, message } = Object(error) as { type?: unknown; name?: unknown; message?: unknown };
  return {
    errorType: toText(type ?? name ?? "Error"),
    errorMessage: toText(message ?? error),
  };
}

/** PostgreSQL has no text with a NUL. */
function toText(value: unknown): string {
  const text = typeof value === "string" ? value : inspect(value);
  return text.replaceAll("\0", "").slice(0, MAX_MESSAGE_LENGTH);
}

/**
 * Whether an error says only that something is away which a handler needs, such as the database, NATS or a service. Not a
 * timeout: that may well be due to the event.
 */
export function isOutage(error: unknown): boolean {
  if (isDatabaseAway(error)) return true;
  const { retryable, type } = Object(error) as { retryable?: unknown; type?: unknown };
  return retryable === true && type !== "REQUEST_TIMEOUT" && type !== "UPSTREAM_TIMEOUT";
}
