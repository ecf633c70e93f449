import { appError, invalidField } from "../../broker/errors.ts";
import { LOGGED_EVENT_COLUMNS, toCloudEvent, type LoggedEvent } from "../../lib/cloud-event.ts";
import type { Database } from "../../lib/database.ts";
import type { EventPage, ListEvents } from "./events.contract.ts";

/** A page ends after the event that reaches this size: between nodes it must fit into a message of NATS, 1 MB. */
const MAX_PAGE_BYTES = 850_000;

/** What an event has around its data, at most. */
const ENVELOPE_BYTES = 600;

/**
 * One statement sees one state of the log, in which all numbers up to `head` are given. So the events of the page are
 * all that there are between `after` and its end, also while the relay appends and retention deletes.
 */
const pageOf = (candidates: string) => `
  WITH bounds AS (
    SELECT head::float8 AS "lastSequence",
      coalesce((SELECT min(sequence) FROM events.log), head + 1)::float8 AS "firstSequence"
    FROM events.relay
  ), candidate AS (
    SELECT ${LOGGED_EVENT_COLUMNS}, octet_length(data::text) + ${ENVELOPE_BYTES} AS bytes FROM ${candidates}
  ), sized AS (
    SELECT *, sum(bytes) OVER (ORDER BY sequence) - bytes AS "bytesBefore", count(*) OVER ()::integer AS found
    FROM candidate
  )
  SELECT * FROM bounds LEFT JOIN sized ON "bytesBefore" < ${MAX_PAGE_BYTES} ORDER BY sequence`;

const PAGE = {
  name: "events.page",
  text: pageOf("events.log WHERE log.sequence > $1 ORDER BY log.sequence LIMIT $2"),
};

// Type by type, as a range of the index by type and sequence. With `type = …`, PostgreSQL would take the order of the
// primary key for cheap, and read the whole log for a type that is rare.
const PAGE_OF_TYPES = {
  name: "events.page-of-types",
  text: pageOf(`unnest($3::text[]) AS wanted (wanted_type) CROSS JOIN LATERAL (
    SELECT * FROM events.log
    WHERE (type, sequence) > (wanted_type, $1::bigint) AND (type, sequence) <= (wanted_type, ${Number.MAX_SAFE_INTEGER})
    ORDER BY type, sequence LIMIT $2
  ) AS log ORDER BY log.sequence LIMIT $2`),
};

const PAGE_OF_SUBJECT = {
  name: "events.page-of-subject",
  text: pageOf(`events.log
    WHERE subject = $3 AND ($4::text[] IS NULL OR type = ANY ($4)) AND log.sequence > $1
    ORDER BY log.sequence LIMIT $2`),
};

interface Bounds {
  firstSequence: number;
  lastSequence: number;
}

/** A row without event is all there is when the page is empty. */
type Row = Bounds & (({ found: number } & LoggedEvent) | { found: null });

/**
 * Reads the events after a position. On the primary: a replica has no gaps either, but is late, and then a reader that
 * was told of an event would not find it.
 *
 * @throws EVENTS_EXPIRED, and VALIDATION_FAILED for a position that the log has not reached
 */
export async function readEventPage(database: Database, query: ListEvents): Promise<EventPage> {
  const { after, limit } = query;
  const rows = await find(database, query);
  const [first] = rows;
  if (!first) throw new Error("The table events.relay has lost its row.");
  requireInLog(after, first);

  const { lastSequence, found } = first;
  const events = rows.filter((row): row is Row & LoggedEvent => row.found !== null);
  const isCut = found !== null && (found === limit || events.length < found);
  return {
    data: events.map(toCloudEvent),
    nextAfter: isCut ? (events.at(-1)?.sequence ?? lastSequence) : lastSequence,
    lastSequence,
  };
}

function find(database: Database, { after = 0, limit, types, subject }: ListEvents): Promise<Row[]> {
  if (subject !== undefined) return database.query(PAGE_OF_SUBJECT, [after, limit, subject, types ?? null]);
  return types ? database.query(PAGE_OF_TYPES, [after, limit, types]) : database.query(PAGE, [after, limit]);
}

function requireInLog(after: number | undefined, { firstSequence, lastSequence }: Bounds): void {
  if (after === undefined) return;
  if (after < firstSequence - 1) {
    throw appError("EVENTS_EXPIRED", {
      detail: `The log begins at ${firstSequence}; events before it are no longer kept. To go on without them, ask for what is after ${firstSequence - 1}.`,
    });
  }
  // Else a reader would wait in silence, and skip events, after the log was restored from an older backup.
  if (after > lastSequence) {
    throw invalidField("after", "range", `The log ends at ${lastSequence}; nothing is after ${after} yet.`);
  }
}
