import { appError } from "../broker/errors.ts";
import { createCursorCodec, type CursorPosition } from "../lib/cursor.ts";

/** The pages of lists. `scope` is whatever must be the same on the next page: which list it is, its sort and filters. */
export interface ListPages {
  /**
   * Where a page begins; undefined: at the beginning of the list.
   *
   * @throws INVALID_CURSOR
   */
  startOf(cursor: string | undefined, scope: unknown): CursorPosition | undefined;
  /** The cursor of what comes after a position. */
  cursorAfter(position: CursorPosition, scope: unknown): string;
  /** Makes a page of rows that were read, one more than the page may have if the list goes on. */
  pageOf<Row>(
    rows: readonly Row[],
    options: { limit: number; scope: unknown; positionOf: (row: Row) => CursorPosition },
  ): { page: Row[]; nextCursor: string | null };
}

/** @param secret the node's SECRET */
export function createListPages(secret: string): ListPages {
  const cursors = createCursorCodec(secret);
  return {
    startOf(cursor, scope) {
      if (cursor === undefined) return undefined;
      const position = cursors.decode(cursor, scope);
      if (position) return position;
      const message = "The cursor does not belong to this list.";
      throw appError("INVALID_CURSOR", { errors: [{ field: "cursor", rule: "cursor", message }] });
    },
    cursorAfter: (position, scope) => cursors.encode(position, scope),
    pageOf(rows, { limit, scope, positionOf }) {
      const page = rows.slice(0, limit);
      const last = rows.length > limit ? page.at(-1) : undefined;
      return { page, nextCursor: last === undefined ? null : cursors.encode(positionOf(last), scope) };
    },
  };
}
