/** What lets older and newer instances of a durable consumer run side by side, and tells a planned retry from a crash. */
export const sql = `
  -- When an instance last said that it handles the type.
  ALTER TABLE events.subscription ADD COLUMN seen_at timestamptz(3) NOT NULL DEFAULT now();

  -- Whether the next attempt was planned by a process that has survived the last one, and has not begun.
  ALTER TABLE events.retry ADD COLUMN is_planned boolean NOT NULL DEFAULT false;
`;
