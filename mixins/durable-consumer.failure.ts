import { isDatabaseAway } from "../lib/database-errors.ts";

/** Why an attempt failed. */
export interface Failure {
  attempts: number;
  errorType: string;
  errorMessage: string;
}

const MAX_MESSAGE_LENGTH = 1000;

/** An error as it is kept. */
export function describe(error: unknown): Omit<Failure, "attempts"> {
  const { type, name, message } = error as { type?: string; name?: string; message?: string };
  return {
    errorType: type ?? name ?? "Error",
    errorMessage: (message ?? String(error)).slice(0, MAX_MESSAGE_LENGTH),
  };
}

/**
 * Whether an error says only that something is away which a handler needs, such as the database, NATS or a service. Not a
 * timeout: that may well be due to the event.
 */
export function isOutage(error: unknown): boolean {
  if (isDatabaseAway(error)) return true;
  const { retryable, type } = error as { retryable?: unknown; type?: unknown };
  return retryable === true && type !== "REQUEST_TIMEOUT" && type !== "UPSTREAM_TIMEOUT";
}
