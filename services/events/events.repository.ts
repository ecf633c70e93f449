import type { Database } from "../../lib/database.ts";
import type { EventsStatus } from "./events.contract.ts";

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
export async function readStatus(database: Database): Promise<Omit<EventsStatus, "streamMessages">> {
  const [row] = await database.query<Omit<EventsStatus, "streamMessages">>(READ_STATUS, []);
  if (!row) throw new Error("The table events.relay has lost its row.");
  return row;
}
