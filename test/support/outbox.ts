import type { DomainEventMap } from "../../lib/contracts.ts";
import type { TestNodes } from "./test-nodes.ts";

/** A row of the outbox. */
export interface StoredEvent {
  readonly type: keyof DomainEventMap;
  readonly subject: string;
  readonly data: { readonly id: string; readonly version: number } & Readonly<Record<string, unknown>>;
  readonly actor: string;
  readonly requestId: string;
  readonly changedFields: readonly string[];
  readonly occurredAt: Date;
}

/** The events about one resource, or all events, in the order in which they were written. */
export function storedEvents({ sql }: Pick<TestNodes, "sql">, subject?: string): Promise<StoredEvent[]> {
  return sql<StoredEvent>(
    `SELECT type, subject, data, actor, request_id AS "requestId", changed_fields AS "changedFields",
            occurred_at AS "occurredAt"
     FROM events.outbox WHERE $1::uuid IS NULL OR subject = $1 ORDER BY position`,
    [subject],
  );
}

/** Makes PostgreSQL refuse every event of a request whose id begins with `prefix`, when its row has been changed. */
export async function refuseEventsOf({ sql }: Pick<TestNodes, "sql">, prefix: string): Promise<void> {
  await sql(`
    CREATE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'refused by the test'; END $$;
    CREATE TRIGGER refuse_event BEFORE INSERT ON events.outbox FOR EACH ROW
      WHEN (NEW.request_id LIKE '${prefix}%') EXECUTE FUNCTION refuse_event();`);
}
