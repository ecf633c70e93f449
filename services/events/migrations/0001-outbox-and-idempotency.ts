/**
 * What the unit of work writes in the transaction of a change: the events it caused, and its result under the
 * idempotency key of the request.
 */
export const sql = `
  CREATE SCHEMA events;

  CREATE TABLE events.outbox (
    -- Order of writing. What one service writes about a subject is written under a lock of the subject, so among those
    -- rows it is also commit order.
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

  -- Makes a request the caller's until its transaction ends. Raises RC001 while another transaction has it, and RC002
  -- when it is done. The statements of a function see what was committed before each of them, so a request that ends
  -- between the lock and the look is seen.
  CREATE FUNCTION events.claim(for_principal text, for_action text, for_key text) RETURNS void
  LANGUAGE plpgsql AS $$
  DECLARE
    expiry timestamptz;
  BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(concat_ws(E'\\n', for_principal, for_action, for_key), 0)) THEN
      RAISE EXCEPTION 'the request is in flight' USING ERRCODE = 'RC001';
    END IF;
    SELECT expires_at INTO expiry FROM events.idempotency
      WHERE principal = for_principal AND action = for_action AND key = for_key;
    IF expiry > now() THEN
      RAISE EXCEPTION 'the request is done' USING ERRCODE = 'RC002';
    ELSIF expiry IS NOT NULL THEN
      DELETE FROM events.idempotency
        WHERE principal = for_principal AND action = for_action AND key = for_key;
    END IF;
  END $$;
`;
