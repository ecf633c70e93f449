import type { Side } from "./sides.ts";

/** A page of either side, as far as a walk needs it. */
interface Page {
  data: unknown[];
  nextCursor: string | null;
}

/** What a walk asks for at a time: the most the API gives. */
const MAX_LIMIT = 100;

/**
 * The cursor after the first `rows` users, newest first, got as any client would: by walking there. Cursors are
 * opaque, so nothing else could make one.
 */
export async function cursorAfter(side: Side, rows: number): Promise<string> {
  let cursor: string | undefined;
  for (let passed = 0; passed < rows;) {
    const limit = Math.min(MAX_LIMIT, rows - passed);
    const page = await fetchPage(side, limit, cursor);
    if (page.data.length !== limit || !page.nextCursor) throw new Error(`the list ends before row ${rows}`);
    passed += limit;
    cursor = page.nextCursor;
  }
  if (!cursor) throw new Error("page 1 has no cursor");
  return cursor;
}

/** The cursors of the first `count` pages of `limit` users; undefined is that of the first page. */
export async function firstCursors(
  side: Side,
  count: number,
  limit: number,
): Promise<(string | undefined)[]> {
  const cursors: (string | undefined)[] = [undefined];
  while (cursors.length < count) {
    const { nextCursor } = await fetchPage(side, limit, cursors.at(-1));
    if (!nextCursor) throw new Error(`the list ends at page ${cursors.length}`);
    cursors.push(nextCursor);
  }
  return cursors;
}

async function fetchPage(
  { baseUrl, credentials }: Side,
  limit: number,
  cursor: string | undefined,
): Promise<Page> {
  const query = new URLSearchParams({ limit: String(limit), sort: "-createdAt", ...(cursor && { cursor }) });
  const response = await fetch(`${baseUrl}/api/v1/users?${query.toString()}`, { headers: credentials });
  if (!response.ok) throw new Error(`a page was answered with ${response.status}: ${await response.text()}`);
  return (await response.json()) as Page;
}
