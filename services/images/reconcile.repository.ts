import type { Database } from "../../lib/database.ts";
import type { Visibility } from "../../lib/media-path.ts";
import type { ImageRecord } from "./images.domain.ts";

/** What of a row is compared with stored bytes. */
export type ImageRow = Pick<ImageRecord, "id" | "userId" | "visibility" | "hash">;

const PAGE = 1000;
const NEXT = {
  name: "images.next-by-hash",
  text: `SELECT id, user_id AS "userId", visibility, hash FROM images.images
    WHERE hash > $1 ORDER BY hash LIMIT ${PAGE}`,
};
const IS_KNOWN = {
  name: "images.is-known-hash",
  text: `SELECT EXISTS (SELECT FROM images.images WHERE hash = $1)
    OR EXISTS (SELECT FROM images.removals WHERE hash = $1) AS "isKnown"`,
};

/** All images, or those of one visibility, ascending by hash. */
export async function* rowsByHash(database: Database, visibility?: Visibility): AsyncGenerator<ImageRow> {
  let after = "";
  for (;;) {
    const rows = await database.query<ImageRow>(NEXT, [after]);
    for (const row of rows) if (visibility === undefined || row.visibility === visibility) yield row;
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) return;
    after = last.hash;
  }
}

/** Whether an image has these files, or they are being removed. */
export async function isKnownHash(database: Database, hash: string): Promise<boolean> {
  const [row] = await database.query<{ isKnown: boolean }>(IS_KNOWN, [hash]);
  return row?.isKnown === true;
}
