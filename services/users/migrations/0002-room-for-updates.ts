/**
 * Leaves room in each page for newer versions of its rows. A version that is in the page of the one before it needs no
 * entries in the indexes, of which there are nine. Pages that are full already get room as their rows are changed.
 */
export const sql = `
  ALTER TABLE users.users SET (fillfactor = 90);
`;
