import type { TestNodes } from "./test-nodes.ts";
import { waitFor } from "./wait-for.ts";

/** The statement that writes events to the outbox past the product: `count` changes of each of some users. */
export const APPEND_EVENTS = `
  INSERT INTO events.outbox (id, type, subject, data, actor, request_id, changed_fields, occurred_at)
  SELECT gen_random_uuid(), 'user-updated_v1', subject, jsonb_build_object('id', subject, 'version', version),
    'test', 'test', '{lastName}', now()
  FROM generate_series(1, $2::integer) AS version, unnest($1::uuid[]) AS subject ORDER BY version`;

/** Writes `count` changes of each subject to the outbox, in turn. */
export async function appendEvents(
  { sql }: Pick<TestNodes, "sql">,
  subjects: readonly string[],
  count: number,
): Promise<void> {
  await sql(APPEND_EVENTS, [subjects, count]);
}

/** The state of the relay: last number given, last one published. */
export function relayState({ sqlOne }: Pick<TestNodes, "sqlOne">): Promise<{
  head: number;
  published: number;
  leader: string | null;
}> {
  return sqlOne("SELECT head::integer, published::integer, leader FROM events.relay");
}

/** Waits until everything that was committed is confirmed by the stream. */
export async function untilAllPublished(
  { sqlOne }: Pick<TestNodes, "sqlOne">,
  timeoutMs = 30_000,
): Promise<void> {
  // One statement: between two, an event could be moved from where the second looks to where the first has looked.
  const isDone = async (): Promise<boolean> => {
    const { done } = await sqlOne<{ done: boolean }>(
      "SELECT head = published AND NOT EXISTS (SELECT FROM events.outbox) AS done FROM events.relay",
    );
    return done;
  };
  await waitFor(isDone, { description: "all events to be published", timeoutMs });
}
