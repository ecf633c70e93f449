import { addAbortSignal } from "node:stream";
import type { CallingOptions, ServiceBroker } from "moleculer";
import { appError, hasType } from "../broker/errors.ts";
import { call, type ActionParams, type ActionResult } from "../lib/contracts.ts";
import { codeOf } from "../lib/problem.ts";

/** A stream whose node dies, or of which a piece is lost, has no end. */
const STREAM_TIMEOUT_MS = 5000;

/**
 * A page of the log of events, as `events.list` gives it, also when it is too large for a message between nodes: one event
 * can be, and the limit is a setting of NATS.
 *
 * @throws as `events.list`, and SERVICE_UNAVAILABLE for a large page that does not arrive in time
 */
export async function listEvents(
  broker: ServiceBroker,
  query: ActionParams<"events.list">,
  options?: CallingOptions,
): Promise<ActionResult<"events.list">> {
  try {
    return await call(broker, "events.list", query, options);
  } catch (error) {
    if (!hasType(error, "RESULT_TOO_LARGE")) throw error;
  }
  const pieces = await call(broker, "events.listInPieces", query, options);
  addAbortSignal(AbortSignal.timeout(STREAM_TIMEOUT_MS), pieces);
  let text = "";
  try {
    for await (const piece of pieces) text += String(piece);
  } catch (error) {
    throw appError("SERVICE_UNAVAILABLE", {}, error);
  }
  return JSON.parse(text) as ActionResult<"events.list">;
}

/**
 * Whether an error of {@link listEvents} says that the log has no such position: retention has deleted what comes after it,
 * or the log was restored from an older backup.
 */
export function isPositionLost(error: unknown): boolean {
  const code = codeOf(error);
  return code === "EVENTS_EXPIRED" || code === "VALIDATION_FAILED";
}
