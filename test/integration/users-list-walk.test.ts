import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import { USER_SORTS, type ListUsers, type User } from "../../services/users/users.contract.ts";
import { insertUsers } from "../support/stored-rows.ts";
import { startTestNodes, startUsersPair, type TestNodes } from "../support/test-nodes.ts";

/** Users that stay for as long as the tests run. */
const LASTING = 2_000;
/** Others, of whom some are deleted and some come while a list is read. */
const PASSING = 500;

let nodes: TestNodes;
let brokers: ServiceBroker[];

beforeAll(async () => {
  nodes = await startTestNodes();
  const { a, b, caller } = await startUsersPair(nodes);
  brokers = [a, b, caller];
  // Many have the same time and the same name, so that only the id tells where a page ends.
  const equals = {
    last_name: "'Name ' || n % 3",
    created_at: "'2001-01-01T00:00:00Z'::timestamptz + n % 3 * interval '1 ms'",
  };
  await insertUsers(nodes, LASTING, { ...equals, country: "'AQ'" });
  await insertUsers(nodes, PASSING, { ...equals, country: "'BR'" });
});

afterAll(() => nodes.stop());

describe("reading a list to its end while users come and go", () => {
  test.each(USER_SORTS)("sorted by %s, skips none and repeats none of those that stay", async (sort) => {
    const read = await readToEnd({ sort }, comeAndGo);

    const lasting = read.filter(({ country }) => country === "AQ").map(({ id }) => id);
    expect(lasting).toHaveLength(LASTING);
    expect(new Set(read.map(({ id }) => id)).size).toBe(read.length);
    expect(read).toEqual(inOrder(read, sort));
  });

  test("that has filters skips and repeats none either", async () => {
    const filter = { country: "AQ", createdBefore: "2001-01-01T00:00:00.002Z" } as const;
    const { count } = await nodes.sqlOne<{ count: number }>(
      "SELECT count(*)::integer FROM users.users WHERE country = 'AQ' AND created_at < '2001-01-01T00:00:00.002Z'",
    );

    const read = await readToEnd({ sort: "lastName", ...filter }, comeAndGo);

    expect(count).toBeGreaterThan(LASTING / 2);
    expect(new Set(read.map(({ id }) => id)).size).toBe(count);
    expect(read).toHaveLength(count);
  });
});

/** Reads all pages, each from the next node, and calls `between` after each. */
async function readToEnd(params: Partial<ListUsers>, between: () => Promise<void>): Promise<User[]> {
  const users: User[] = [];
  let cursor: string | null = null;
  for (let page = 0; page === 0 || cursor !== null; page++) {
    const broker = brokers[page % brokers.length];
    if (!broker) throw new Error("no broker");
    const next: Partial<ListUsers> = { ...params, limit: 100, ...(cursor !== null && { cursor }) };
    const { data, nextCursor } = await call(broker, "users.list", next);
    users.push(...data);
    cursor = nextCursor;
    await between();
  }
  return users;
}

/** A few users are inserted and a few deleted, all over the list. */
async function comeAndGo(): Promise<void> {
  await nodes.sql(
    `UPDATE users.users SET deleted_at = now()
     WHERE id IN (SELECT id FROM users.users WHERE country = 'BR' AND deleted_at IS NULL ORDER BY random() LIMIT 5)`,
  );
  await insertUsers(nodes, 5, {
    last_name: "'Name ' || n % 3",
    created_at: "'2001-01-01T00:00:00Z'::timestamptz + n % 3 * interval '1 ms'",
    country: "'BR'",
  });
}

function inOrder(users: readonly User[], sort: ListUsers["sort"]): User[] {
  const field = sort.endsWith("createdAt") ? "createdAt" : "lastName";
  const direction = sort.startsWith("-") ? -1 : 1;
  const keyOf = (user: User): string => `${user[field]} ${user.id}`;
  return users.toSorted((one, two) => (keyOf(one) < keyOf(two) ? -direction : direction));
}
