/**
 * Leaves room in each page for newer versions of its rows. A version in the page of the one before it needs no entries
 * in the indexes, of which a user is in eight. Pages that are full already get room as their rows are changed.
 */
export const sql = `
  ALTER TABLE users.users SET (fillfactor = 90);
`;
