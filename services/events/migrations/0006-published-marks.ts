/**
 * How far events were published at what time, by which retention goes: by the time of its change, an event that was
 * published late would be deleted soon after that, before its readers have seen it.
 */
export const sql = `
  CREATE TABLE events.published_mark (
    -- All events up to this number were published by then; without NATS, in the log.
    sequence   bigint PRIMARY KEY,
    reached_at timestamptz(3) NOT NULL
  );

  -- For the events before this table, the times of their changes: a thousand of them, evenly spread, are enough.
  INSERT INTO events.published_mark
  SELECT log.sequence, log.occurred_at
  FROM (SELECT min(sequence) AS first, max(sequence) AS last FROM events.log) AS ends,
    generate_series(ends.first, ends.last, greatest((ends.last - ends.first) / 1000, 1)) AS sample
    JOIN events.log ON log.sequence = sample;
`;
