/**
 * What the unit of work writes in the transaction of a change: the events it caused, and its result under the
 * idempotency key of the request.
 */
export const sql = `
  CREATE SCHEMA events;

  CREATE TABLE events.outbox (
    -- Order of writing. Rows of one subject are written under its row lock, so for one subject it is also commit order.
    position       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             uuid NOT NULL UNIQUE,
    type           text NOT NULL,
    subject        uuid NOT NULL,
    data           jsonb NOT NULL,
    actor          text NOT NULL,
    request_id     text NOT NULL,
    changed_fields text[] NOT NULL,
    occurred_at    timestamptz(3) NOT NULL
  );

  CREATE TABLE events.idempotency (
    principal   text NOT NULL,
    action      text NOT NULL,
    key         text NOT NULL,
    -- Hash of the parameters: the same key with others is an error of the client.
    fingerprint text NOT NULL,
    -- json, not jsonb: a replay has the same text, and so the same order of members, as the first answer.
    result      json NOT NULL,
    -- Whom the result is about, so that erasing a user finds it.
    subject     uuid NOT NULL,
    expires_at  timestamptz(3) NOT NULL,
    PRIMARY KEY (principal, action, key)
  );

  CREATE INDEX idempotency_by_expiry ON events.idempotency (expires_at);
  CREATE INDEX idempotency_by_subject ON events.idempotency (subject);
`;
