import type pg from "pg";
import { LOGGED_EVENT_COLUMNS, type LoggedEvent } from "../../lib/cloud-event.ts";
import type { Statement } from "../../lib/database-connection.ts";
import type { EventsStatus, Replay } from "./events.contract.ts";

/** What statements are run on: the pool, or the session of the leader. */
interface Connection {
  query<Row extends pg.QueryResultRow>(statement: Statement, values: unknown[]): Promise<Row[]>;
}

const BEGIN_TERM = { text: "UPDATE events.relay SET leader = $1, leader_since = now()" };

/** Writes down who leads. Only for the leader. */
export async function beginTerm(leader: Connection, nodeId: string): Promise<void> {
  await leader.query(BEGIN_TERM, [nodeId]);
}

/** An event of the log on its way to the stream. */
export type UnpublishedEvent = LoggedEvent & {
  /** How often it was replayed; 0 when it is published for the first time. */
  replay: number;
};

/** How far events are published, and how often that was set back. */
export interface PublishState {
  published: number;
  replays: number;
}

// Numbered in the order of writing, which for what one service writes about a subject is the order of commits. A row that
// was committed late, with a lower position than others before it, gets the next number like any other.
const MOVE = {
  name: "events.move",
  text: `
    WITH taken AS (
      DELETE FROM events.outbox
      WHERE position = ANY (ARRAY(SELECT position FROM events.outbox ORDER BY position LIMIT $1))
      RETURNING *
    ), numbered AS (
      UPDATE events.relay SET head = head + taken.count FROM (SELECT count(*) FROM taken) AS taken
      WHERE taken.count > 0
      RETURNING head, taken.count
    ), log AS (
      INSERT INTO events.log
        (sequence, id, type, subject, data, actor, request_id, changed_fields, occurred_at)
      SELECT head - count + row_number() OVER (ORDER BY position),
        id, type, subject, data, actor, request_id, changed_fields, occurred_at
      FROM taken, numbered
      RETURNING *
    )
    SELECT numbered.head::float8, numbered.count::float8, 0 AS replay, ${LOGGED_EVENT_COLUMNS}
    FROM numbered LEFT JOIN log ON numbered.count <= $2 ORDER BY log.sequence`,
};

/** Rows that were moved. */
export interface Moved {
  /** How many. */
  count: number;
  /** The number of the last. */
  head: number;
  /** The rows themselves, unless they are more than was asked for. */
  events: UnpublishedEvent[];
}

/**
 * Moves the next rows of the outbox to the end of the log, in one transaction. Only for the leader.
 *
 * @param returned how many rows may be returned: more of them are no gain over reading them from the log
 */
export async function moveToLog(
  leader: Connection,
  { limit, returned }: { limit: number; returned: number },
): Promise<Moved | undefined> {
  const rows = await leader.query<UnpublishedEvent & { head: number; count: number }>(MOVE, [
    limit,
    returned,
  ]);
  const [first] = rows;
  if (!first) return undefined;
  const { count, head } = first;
  return { count, head, events: count <= returned ? rows : [] };
}

const READ_UNPUBLISHED = {
  name: "events.read-unpublished",
  text: `
    SELECT relay.published::float8 AS "stateOfPublished", relay.replays AS "stateOfReplays", unpublished.*
    FROM events.relay LEFT JOIN LATERAL (
      SELECT ${LOGGED_EVENT_COLUMNS}, CASE WHEN log.sequence <= replay_until THEN replays ELSE 0 END AS replay
      FROM events.log WHERE log.sequence > CASE WHEN replays = $2 THEN $3 ELSE published END
      ORDER BY log.sequence LIMIT $1
    ) AS unpublished ON true
    ORDER BY unpublished.sequence`,
};

/**
 * The next events to be published: those after a number or, when a replay has set the relay back since, or nothing is
 * known yet, above the last one that is noted as confirmed.
 */
export async function readUnpublished(
  connection: Connection,
  limit: number,
  known: { after: number; replays: number } | undefined,
): Promise<{ state: PublishState; events: UnpublishedEvent[] }> {
  const rows = await connection.query<
    UnpublishedEvent & { stateOfPublished: number; stateOfReplays: number }
  >(READ_UNPUBLISHED, [limit, known?.replays, known?.after]);
  const { stateOfPublished: published = 0, stateOfReplays: replays = 0 } = rows[0] ?? {};
  // Where there is no event, its columns are null.
  return { state: { published, replays }, events: rows.filter(({ id }) => id !== null) };
}

const ADVANCE = {
  name: "events.advance",
  // Committed without waiting for the disk: what a crash of the server makes of it is that events are sent again.
  text: `
    UPDATE events.relay SET published = $1 WHERE published = $2 AND replays = $3
    RETURNING set_config('synchronous_commit', 'off', true)`,
};

/**
 * Notes that everything up to `published` is confirmed. Only for the leader.
 *
 * @returns false when a replay has set the relay back meanwhile; then nothing is noted
 */
export async function advancePublished(
  leader: Connection,
  from: PublishState,
  published: number,
): Promise<boolean> {
  return (await leader.query(ADVANCE, [published, from.published, from.replays])).length > 0;
}

const REPLAY = {
  text: `
    WITH oldest AS (SELECT min(sequence) AS sequence FROM events.log)
    UPDATE events.relay SET published = greatest($1, oldest.sequence) - 1, replays = replays + 1,
      replay_until = head
    FROM oldest WHERE oldest.sequence IS NOT NULL AND published >= greatest($1, oldest.sequence)
    RETURNING (relay.published + 1)::float8 AS from, relay.replay_until::float8 AS to,
      pg_notify('events_outbox', '')`,
};

/** Makes the relay publish again what it has published from this number on. */
export async function replay(connection: Connection, from: number): Promise<Replay | null> {
  const [range] = await connection.query<{ from: number; to: number }>(REPLAY, [from]);
  return range ? { from: range.from, to: range.to } : null;
}

const READ_STATUS = {
  name: "events.status",
  text: `
    SELECT (SELECT count(*) FROM events.outbox)::float8 AS pending,
      coalesce((SELECT greatest(extract(epoch FROM now() - occurred_at), 0)
                FROM events.outbox ORDER BY position LIMIT 1), 0)::float8 AS "oldestPendingSeconds",
      head::float8, published::float8, leader, leader_since AS "leaderSince"
    FROM events.relay`,
};

/** What the database knows of the relay. */
export async function readStatus(connection: Connection): Promise<Omit<EventsStatus, "streamMessages">> {
  const [row] = await connection.query<Omit<EventsStatus, "streamMessages">>(READ_STATUS, []);
  if (!row) throw new Error("The table events.relay has lost its row.");
  return row;
}
