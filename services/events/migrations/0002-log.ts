/** The log that events are moved to from the outbox, numbered without gaps, and the state of the relay that moves them. */
export const sql = `
  CREATE TABLE events.log (
    -- Given by the relay: a number is there only when all lower ones are, up to those that retention has deleted.
    sequence       bigint PRIMARY KEY,
    id             uuid NOT NULL UNIQUE,
    type           text NOT NULL,
    subject        uuid NOT NULL,
    data           jsonb NOT NULL,
    actor          text NOT NULL,
    request_id     text NOT NULL,
    changed_fields text[] NOT NULL,
    occurred_at    timestamptz(3) NOT NULL
  );

  CREATE INDEX log_by_subject ON events.log (subject, sequence);
  CREATE INDEX log_by_type ON events.log (type, sequence);

  CREATE TABLE events.relay (
    is_only      boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    -- The last number given.
    head         bigint NOT NULL DEFAULT 0,
    -- All events up to this number are confirmed by the stream. A replay sets it back.
    published    bigint NOT NULL DEFAULT 0 CHECK (published <= head),
    -- How often events were replayed, and up to which number: they need other message ids than before.
    replays      integer NOT NULL DEFAULT 0,
    replay_until bigint NOT NULL DEFAULT 0,
    -- Node that leads, or led last, and since when.
    leader       text,
    leader_since timestamptz(3)
  );
  INSERT INTO events.relay DEFAULT VALUES;

  -- Every row of the outbox is deleted soon after it was written. By default a tenth of a large backlog would have to be
  -- dead before its space, and its entries at the start of the index, were cleaned up.
  ALTER TABLE events.outbox SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000
  );
  -- One row, updated all the time: in a page that has room its updates leave nothing to index.
  ALTER TABLE events.relay SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
`;
