import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import type { ListUsers, UserPage } from "../../services/users/users.contract.ts";
import { insertUsers } from "../support/stored-rows.ts";
import { startTestNodes, startUsersPair, type TestNodes } from "../support/test-nodes.ts";

/** Oldest first: one user a day from the first of January 2001. */
const USERS = [
  { first: "Ada", last: "Lovelace", country: "GB" },
  { first: "Émile", last: "Borel", country: "FR" },
  { first: "emilia", last: "de Souza", country: "BR", status: "suspended" },
  { first: "Grace", last: "Hopper", country: "US" },
  { first: "Åsa", last: "Ångström", country: "SE" },
  { first: "Evan", last: "Adams", country: "GB", isDeleted: true },
  { first: "100% sure", last: "Zuse", country: "DE" },
  { first: "100 times", last: "under_score", country: "DE" },
  { first: String.raw`back\slash`, last: "underscore", country: "DE", status: "suspended" },
  { first: "Kenzaburo", last: "Ōe", country: "JP" },
];

let nodes: TestNodes;
let a: ServiceBroker;
let b: ServiceBroker;
let caller: ServiceBroker;

beforeAll(async () => {
  nodes = await startTestNodes();
  ({ a, b, caller } = await startUsersPair(nodes));
  for (const [index, { first, last, country, status = "active", isDeleted = false }] of USERS.entries()) {
    await insertUsers(nodes, 1, {
      email: `'mail-${index}@example.com'`,
      first_name: `'${first}'`,
      last_name: `'${last}'`,
      country: `'${country}'`,
      status: `'${status}'`,
      created_at: `'2001-01-${String(index + 1).padStart(2, "0")}T00:00:00Z'`,
      ...(isDeleted && { deleted_at: "now()" }),
    });
  }
});

afterAll(() => nodes.stop());

describe("a list", () => {
  test("has whole users, the newest first, without the deleted ones", async () => {
    const { data, nextCursor } = await list();

    const kept = USERS.filter(({ isDeleted }) => !isDeleted).toReversed();
    expect(data.map(({ firstName }) => firstName)).toEqual(kept.map(({ first }) => first));
    expect(data[0]).toEqual(await call(caller, "users.get", { id: data[0]?.id ?? "" }));
    expect(nextCursor).toBeNull();
  });

  test.each<[Partial<ListUsers>, string[]]>([
    [{ country: "GB" }, ["Lovelace"]],
    [{ country: "DE" }, ["underscore", "under_score", "Zuse"]],
    [{ country: "AQ" }, []],
    [{ status: "suspended" }, ["underscore", "de Souza"]],
    [{ status: "active", country: "DE" }, ["under_score", "Zuse"]],
    [{ status: "deleted" }, ["Adams"]],
    [{ status: "deleted", country: "FR" }, []],
    [{ email: "MAIL-3@example.com" }, ["Hopper"]],
    [{ email: "mail@example.com" }, []],
    [{ email: "mail-5@example.com" }, []],
    [{ createdAfter: "2001-01-08T00:00:00Z" }, ["Ōe", "underscore"]],
    [{ createdAfter: "2001-01-08T01:00:00.000+01:00" }, ["Ōe", "underscore"]],
    [{ createdAfter: "2001-01-07T23:59:59.999Z" }, ["Ōe", "underscore", "under_score"]],
    [{ createdBefore: "2001-01-03T00:00:00Z" }, ["Borel", "Lovelace"]],
    [{ createdAfter: "2001-01-01T00:00:00Z", createdBefore: "2001-01-03T00:00:00Z" }, ["Borel"]],
    [{ q: "em" }, ["de Souza"]],
    [{ q: "ÉM" }, ["Borel"]],
    [{ q: "ång" }, ["Ångström"]],
    [{ q: "HOP" }, ["Hopper"]],
    [{ q: "opper" }, []],
    [{ q: "Mail-4@" }, ["Ångström"]],
    [{ q: "100%" }, ["Zuse"]],
    [{ q: "%" }, []],
    [{ q: "under_" }, ["under_score"]],
    [{ q: "_" }, []],
    [{ q: "back\\s" }, ["underscore"]],
    [{ q: "100", country: "DE", status: "active", createdBefore: "2001-01-08T00:00:00Z" }, ["Zuse"]],
  ])("with %j has just the users that match", async (filter, expected) => {
    const { data } = await list(filter);

    expect(data.map(({ lastName }) => lastName)).toEqual(expected);
  });

  test("shows deleted users as deleted", async () => {
    expect((await list({ status: "deleted" })).data).toMatchObject([
      { firstName: "Evan", status: "deleted" },
    ]);
  });

  test.each<[ListUsers["sort"], string[]]>([
    ["createdAt", ["Lovelace", "Borel", "de Souza"]],
    ["-createdAt", ["Ōe", "underscore", "under_score"]],
    [
      "lastName",
      ["Ångström", "Borel", "de Souza", "Hopper", "Lovelace", "Ōe", "under_score", "underscore", "Zuse"],
    ],
    [
      "-lastName",
      ["Zuse", "underscore", "under_score", "Ōe", "Lovelace", "Hopper", "de Souza", "Borel", "Ångström"],
    ],
  ])("is sorted by %s as people expect it, in any script and letter case", async (sort, expected) => {
    const { data } = await list({ sort });

    expect(data.map(({ lastName }) => lastName).slice(0, expected.length)).toEqual(expected);
  });
});

describe("the pages of a list", () => {
  test.each([1, 3, 9])("of %i users are together the whole list", async (limit) => {
    const pages: UserPage[] = [];
    let cursor: string | null = null;
    do {
      const page: UserPage = await list({ limit, sort: "lastName", ...(cursor !== null && { cursor }) });
      pages.push(page);
      cursor = page.nextCursor;
    } while (cursor !== null);

    expect(pages.map(({ data }) => data.length)).toEqual(Array(9 / limit).fill(limit));
    expect(pages.flatMap(({ data }) => data)).toEqual((await list({ sort: "lastName" })).data);
  });

  test("may be read from different nodes", async () => {
    const first = await call(a, "users.list", { limit: 2 });
    const second = await call(b, "users.list", { limit: 2, cursor: first.nextCursor ?? "" });

    expect([...first.data, ...second.data]).toEqual((await list({ limit: 4 })).data);
  });

  test.each<[string, Partial<ListUsers>]>([
    ["another sort", { sort: "createdAt" }],
    ["another filter", { country: "DE" }],
    ["one filter more", { status: "active", q: "u" }],
    ["one filter less", {}],
  ])("cannot be read on with %s", async (_, other) => {
    const { nextCursor } = await list({ limit: 1, status: "active" });

    await expect(list({ limit: 1, cursor: nextCursor ?? "", ...other })).rejects.toMatchObject({
      type: "INVALID_CURSOR",
      code: 400,
      data: { errors: [{ field: "cursor" }] },
    });
  });

  test("can be read on with another limit", async () => {
    const { nextCursor } = await list({ limit: 1 });

    expect((await list({ limit: 5, cursor: nextCursor ?? "" })).data).toHaveLength(5);
  });

  test("cannot be read on with a cursor that was changed, cut or made up", async () => {
    const { nextCursor } = await list({ limit: 1 });
    const cursor = nextCursor ?? "";
    const changed = Array.from(cursor, (letter, index) => {
      return cursor.slice(0, index) + (letter === "A" ? "B" : "A") + cursor.slice(index + 1);
    });
    const wrong = [...changed, cursor.slice(0, -1), cursor.slice(0, 10), `${cursor}AAAA`, "made-up", "💥"];

    const answers = await Promise.allSettled(wrong.map((text) => list({ limit: 1, cursor: text })));

    const types = answers.map(
      (answer) => answer.status === "rejected" && (answer.reason as { type: string }).type,
    );
    expect(types).toEqual(wrong.map(() => "INVALID_CURSOR"));
  });

  test("cannot be read on by nodes with another secret", async () => {
    const stranger = await nodes.start({ SERVICES: "users", NATS_URL: "", SECRET: "x".repeat(32) });
    const { nextCursor } = await call(stranger.broker, "users.list", { limit: 1 });
    await stranger.stop();

    await expect(list({ limit: 1, cursor: nextCursor ?? "" })).rejects.toMatchObject({
      type: "INVALID_CURSOR",
    });
  });
});

function list(params: Partial<ListUsers> = {}): Promise<UserPage> {
  return call(caller, "users.list", params);
}
