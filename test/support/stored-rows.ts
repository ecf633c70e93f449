import type { DomainEventMap } from "../../lib/contracts.ts";
import type { User } from "../../services/users/users.contract.ts";
import type { TestNodes } from "./test-nodes.ts";

/** A row of the outbox or of the log. */
export interface StoredEvent {
  readonly type: keyof DomainEventMap;
  readonly subject: string;
  readonly data: { readonly id: string; readonly version: number } & Readonly<Record<string, unknown>>;
  readonly actor: string;
  readonly requestId: string;
  readonly changedFields: readonly string[];
  readonly occurredAt: Date;
}

/** The events about one resource, or all events, in the order in which they were written, moved to the log or not. */
export function storedEvents({ sql }: Pick<TestNodes, "sql">, subject?: string): Promise<StoredEvent[]> {
  return sql<StoredEvent>(
    `SELECT type, subject, data, actor, request_id AS "requestId", changed_fields AS "changedFields",
            occurred_at AS "occurredAt"
     FROM (SELECT sequence, NULL AS position, ${EVENT_COLUMNS} FROM events.log
           UNION ALL SELECT NULL, position, ${EVENT_COLUMNS} FROM events.outbox) AS stored
     WHERE $1::uuid IS NULL OR subject = $1 ORDER BY sequence NULLS LAST, position`,
    [subject],
  );
}

const EVENT_COLUMNS = "type, subject, data, actor, request_id, changed_fields, occurred_at";

/** The users whose address contains `part`, as a caller would see them, deleted ones too. */
export async function storedUsers({ sql }: Pick<TestNodes, "sql">, part: string): Promise<User[]> {
  const rows = await sql<{ user: User }>(
    `SELECT jsonb_build_object(
       'id', id, 'email', email, 'firstName', first_name, 'lastName', last_name, 'nickname', nickname,
       'country', country, 'bio', bio, 'imageUrls', image_urls, 'avatarUrl', avatar_url, 'role', role,
       'status', CASE WHEN deleted_at IS NULL THEN status ELSE 'deleted' END, 'version', version,
       'createdAt', to_char(created_at AT TIME ZONE 'UTC', '${ISO_8601}'),
       'updatedAt', to_char(updated_at AT TIME ZONE 'UTC', '${ISO_8601}')) AS user
     FROM users.users WHERE strpos(email, $1) > 0`,
    [part],
  );
  return rows.map(({ user }) => user);
}

const ISO_8601 = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"';

/** Columns of a stored user. */
export type UserColumns = Partial<
  Record<
    "id" | "email" | "first_name" | "last_name" | "country" | "status" | "created_at" | "deleted_at",
    string
  >
>;

/**
 * Inserts users past the product, as many as it takes.
 *
 * @param columns SQL expressions over `n`, the number of the user from 1 to `count`
 */
export async function insertUsers(
  { sql }: Pick<TestNodes, "sql">,
  count: number,
  columns: UserColumns,
): Promise<void> {
  const all = {
    id: "gen_random_uuid()",
    email: "gen_random_uuid() || '@example.com'",
    first_name: "'Ada'",
    last_name: "'Lovelace'",
    created_at: "now()",
    ...columns,
  };
  await sql(
    `INSERT INTO users.users (${Object.keys(all).join(", ")}, updated_at)
     SELECT ${Object.values(all).join(", ")}, now() FROM generate_series(1, $1) AS n`,
    [count],
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
