import type { CursorPosition } from "../../lib/cursor.ts";
import type { Database } from "../../lib/database.ts";
import type { DeadLetter } from "./dead-letters.contract.ts";

/** Which dead letters to list. */
interface DeadLetterQuery {
  consumer: string | undefined;
  isReplayed: boolean;
  after: CursorPosition | undefined;
  limit: number;
}

const LIST = {
  text: `
    SELECT consumer, event, error_type AS "errorType", error_message AS "errorMessage", attempts,
      first_failed_at AS "firstFailedAt", last_failed_at AS "lastFailedAt",
      replay_requested_at AS "replayRequestedAt", replayed_at AS "replayedAt"
    FROM events.dead_letter
    WHERE ($1::text IS NULL OR consumer = $1) AND (replayed_at IS NOT NULL) = $2
      AND ($3::timestamptz IS NULL OR (last_failed_at, event_id, consumer) < ($3, $4::uuid, $5::text))
    ORDER BY last_failed_at DESC, event_id DESC, consumer DESC LIMIT $6`,
};

/** The last failed first. */
export function listDeadLetters(database: Database, query: DeadLetterQuery): Promise<DeadLetter[]> {
  const { consumer = null, isReplayed, after = [null, null, null], limit } = query;
  return database.query<DeadLetter>(LIST, [consumer, isReplayed, ...after, limit]);
}

/** Where the page after this row begins. */
export function positionOf({ lastFailedAt, event, consumer }: DeadLetter): CursorPosition {
  return [lastFailedAt, event.id, consumer];
}

const REQUEST_REPLAY = {
  text: `
    WITH found AS (
      SELECT consumer, event_id FROM events.dead_letter
      WHERE event_id = $1 AND ($2::text IS NULL OR consumer = $2)
    ), requested AS (
      UPDATE events.dead_letter AS letter SET replay_requested_at = now() FROM found
      WHERE letter.consumer = found.consumer AND letter.event_id = found.event_id AND letter.replayed_at IS NULL
      RETURNING 1
    )
    SELECT (SELECT count(*) FROM found)::integer AS found, (SELECT count(*) FROM requested)::integer AS requested`,
};

/** @returns how many dead letters there are of the event, and of how many the replay is asked for now */
export async function requestReplay(
  database: Database,
  id: string,
  consumer: string | undefined,
): Promise<{ found: number; requested: number }> {
  const [counts] = await database.query<{ found: number; requested: number }>(REQUEST_REPLAY, [
    id,
    consumer ?? null,
  ]);
  return counts ?? { found: 0, requested: 0 };
}
