/**
 * Which version of its user a session has seen, so that what comes later need not be told from what came before by the
 * clocks of two machines.
 */
export const sql = `
  -- Null: it began before this was kept.
  ALTER TABLE auth.sessions ADD COLUMN user_version integer;
`;
