/** What durable consumers remember: where they begin, what they have handled, what fails, and what they gave up. */
export const sql = `
  CREATE TABLE events.consumer (
    name     text PRIMARY KEY,
    -- For those that read the log themselves: every event up to this number is handled.
    position bigint NOT NULL
  );

  CREATE TABLE events.subscription (
    consumer    text NOT NULL,
    type        text NOT NULL,
    -- The consumer handles the events of this type that come after this number.
    start_after bigint NOT NULL,
    PRIMARY KEY (consumer, type)
  );

  -- A row is written in the transaction that handles the event, and needed for as long as the log has the event.
  CREATE TABLE events.inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    subject  uuid NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (consumer, event_id)
  );
  -- Events of one subject are handled in order: the highest number tells how far it is.
  CREATE INDEX inbox_by_subject ON events.inbox (consumer, subject, sequence);
  -- For the purge only: tiny, and good enough as rows come nearly in this order.
  CREATE INDEX inbox_by_sequence ON events.inbox USING brin (sequence);

  -- The event on which a subject is waiting. One for each, since later events of the subject wait for it.
  CREATE TABLE events.retry (
    consumer        text NOT NULL,
    subject         uuid NOT NULL,
    event_id        uuid NOT NULL,
    attempts        integer NOT NULL,
    error_type      text NOT NULL,
    error_message   text NOT NULL,
    first_failed_at timestamptz(3) NOT NULL,
    last_failed_at  timestamptz(3) NOT NULL,
    not_before      timestamptz(3) NOT NULL,
    PRIMARY KEY (consumer, subject)
  );

  CREATE TABLE events.dead_letter (
    consumer            text NOT NULL,
    event_id            uuid NOT NULL,
    sequence            bigint NOT NULL,
    type                text NOT NULL,
    subject             uuid NOT NULL,
    -- The whole CloudEvent: it outlives the log.
    event               jsonb NOT NULL,
    error_type          text NOT NULL,
    error_message       text NOT NULL,
    attempts            integer NOT NULL,
    first_failed_at     timestamptz(3) NOT NULL,
    last_failed_at      timestamptz(3) NOT NULL,
    replay_requested_at timestamptz(3),
    replayed_at         timestamptz(3),
    PRIMARY KEY (consumer, event_id)
  );
  CREATE INDEX dead_letter_by_time ON events.dead_letter (last_failed_at, event_id, consumer);
  CREATE INDEX dead_letter_by_subject ON events.dead_letter (subject);
  CREATE INDEX dead_letter_to_replay ON events.dead_letter (consumer, sequence) WHERE replay_requested_at IS NOT NULL;
`;
