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
