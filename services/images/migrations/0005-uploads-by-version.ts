/** For which version of its user an upload was begun, so that the deletion of one before leaves it alone. */
export const sql = `
  -- 0: it was begun before this was kept.
  ALTER TABLE images.uploads ADD COLUMN user_version integer NOT NULL DEFAULT 0;
`;
