import type { NatsError } from "nats";

/** The JetStream stream that every domain event is published to, under `events.<type>.<subject id>`. */
export const EVENT_STREAM = "EVENTS";

const NOBODY_ANSWERS = "503";

/** For the operator: of a server without JetStream, the client of NATS says no more than "503". */
export function explained(error: unknown): Error {
  const { code, api_error } = error as Partial<NatsError>;
  if (code !== NOBODY_ANSWERS || api_error !== undefined) return error as Error;
  return new Error("NATS has no JetStream. Start its servers with -js.", { cause: error });
}
