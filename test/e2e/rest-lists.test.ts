import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";

import { adminClient } from "../support/admin.ts";
import { createTestDatabase, type TestDatabase } from "../support/databases.ts";
import { fieldsOf, problemOf } from "../support/problems.ts";
import { type RestClient, type UserBody } from "../support/rest-client.ts";
import { startRollcall, type Rollcall } from "../support/rollcall-process.ts";

const USERS = "/api/v1/users";

/** The users of all tests here, in the order in which they are created. A test that makes others puts them in `extras`. */
const PEOPLE = [
  { email: "ada@example.com", firstName: "Ada", lastName: "Lovelace", country: "GB" },
  { email: "grace@example.com", firstName: "Grace", lastName: "Hopper", country: "US" },
  { email: "alan@example.com", firstName: "Alan", lastName: "Turing", country: "GB" },
  { email: "emile@example.com", firstName: "Émile", lastName: "Borel", country: "FR" },
  { email: "love@example.com", firstName: "Mary", lastName: "Øst", country: "NO" },
  { email: "edsger@example.com", firstName: "Edsger", lastName: "Dijkstra", country: "NL" },
  { email: "barbara@example.com", firstName: "Barbara", lastName: "Liskov", country: "US" },
] as const;

interface Page {
  readonly data: readonly UserBody[];
  readonly nextCursor: string | null;
}

let database: TestDatabase;
let node: Rollcall;
let client: RestClient;
let users: UserBody[];
let extras: UserBody[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  node = await startRollcall({ env: { DATABASE_URL: database.url } });
  client = await adminClient(node.url);
  await forgetAdmin();
  users = [];
  // One after the other: their times of creation are the order that tests expect.
  for (const person of PEOPLE) users.push(await client.createUser(person));
});

afterEach(async () => {
  for (const { id } of extras) await client.post(`${USERS}/${id}/erase`, undefined);
  extras = [];
});

afterAll(async () => {
  client.close();
  await node.stop();
  await database.drop();
});

/** Past the product: the lists here are of people whom the tests name. */
async function forgetAdmin(): Promise<void> {
  const sql = new pg.Client(database.url);
  await sql.connect();
  await sql.query("DELETE FROM users.users");
  await sql.end();
}

describe("a list of users", () => {
  test("is the newest first, and all of them when they fit", async () => {
    const response = await client.get(USERS);

    expect(response.status).toBe(200);
    expect(response.json).toEqual({ data: users.toReversed(), nextCursor: null });
    expect(response.headers.link).toBe(`<${USERS}>; rel="first"`);
  });

  test.each([
    ["createdAt", ["Ada", "Grace", "Alan", "Émile", "Mary", "Edsger", "Barbara"]],
    ["-createdAt", ["Barbara", "Edsger", "Mary", "Émile", "Alan", "Grace", "Ada"]],
    ["lastName", ["Émile", "Edsger", "Grace", "Barbara", "Ada", "Mary", "Alan"]],
    ["-lastName", ["Alan", "Mary", "Ada", "Barbara", "Grace", "Edsger", "Émile"]],
  ])("is sorted by %s, with the same rows on pages of two as on one", async (sort, names) => {
    expect(namesOf(await page(`sort=${sort}`))).toEqual(names);
    const pages = await followNext(`${USERS}?sort=${sort}&limit=2`);
    expect(pages.flatMap(namesOf)).toEqual(names);
    expect(pages.map(({ data }) => data.length)).toEqual([2, 2, 2, 1]);
  });

  test.each([
    ["country=GB", ["Alan", "Ada"]],
    ["email=GRACE@example.com", ["Grace"]],
    ["status=active&country=US", ["Barbara", "Grace"]],
    ["status=suspended", []],
    ["q=love", ["Mary", "Ada"]],
    ["q=LOVE", ["Mary", "Ada"]],
    ["q=%C3%A9m", ["Émile"]],
    ["q=%25", []],
    ["q=_", []],
    ["q=a&country=GB", ["Alan", "Ada"]],
    ["createdAfter=2100-01-01T00:00:00Z", []],
    ["createdBefore=2100-01-01T00:00:00%2B02:00&country=FR", ["Émile"]],
  ])("is filtered by ?%s", async (query, names) => {
    expect(namesOf(await page(query))).toEqual(names);
  });

  test("between two times holds those created after the one and before the other", async () => {
    const [first, , , fourth] = users as unknown as { createdAt: string }[];

    const between = await page(
      `createdAfter=${first?.createdAt}&createdBefore=${fourth?.createdAt}&sort=createdAt`,
    );

    expect(namesOf(between)).toEqual(["Grace", "Alan"]);
  });
});

describe("the link to the next page", () => {
  test("keeps the filters, and is not there on the last page", async () => {
    const first = await client.get(`${USERS}?country=GB&limit=1`);
    const next = nextOf(first.headers.link);

    expect(first.headers.link).toContain(`<${USERS}?country=GB&limit=1>; rel="first"`);
    expect(new URL(next ?? "", node.url).searchParams.get("cursor")).toBe((first.json as Page).nextCursor);
    const second = await client.get(next ?? "");
    expect(namesOf(second.json as Page)).toEqual(["Ada"]);
    expect(nextOf(second.headers.link)).toBeUndefined();
    expect((second.json as Page).nextCursor).toBeNull();
  });

  test("leads to every row once, although others come and go meanwhile", async () => {
    const extra = await client.createUser({ firstName: "Extra" });
    extras.push(extra);
    const first = await client.get(`${USERS}?limit=3`);
    await client.post(`${USERS}/${extra.id}/erase`, undefined);
    extras.push(await client.createUser({ firstName: "Late" }));

    const rest = await followNext(nextOf(first.headers.link) ?? "");

    const names = [first.json as Page, ...rest].flatMap(namesOf);
    expect(names).toEqual(["Extra", ...PEOPLE.toReversed().map(({ firstName }) => firstName)]);
  });
});

describe("a cursor", () => {
  test.each([
    ["another sort", "sort=createdAt&limit=2"],
    ["another filter", "country=GB&limit=2"],
    ["a filter more", "status=active&limit=2"],
  ])("is refused with %s than it was made for", async (_, query) => {
    const { nextCursor } = await page("limit=2");

    const problem = problemOf(await client.get(`${USERS}?${query}&cursor=${nextCursor}`));

    expect(problem).toMatchObject({ status: 400, code: "INVALID_CURSOR" });
    expect(fieldsOf(problem)).toEqual(["cursor"]);
  });

  test("may be used with another limit, and on /profiles", async () => {
    const { nextCursor } = await page("limit=2");

    expect(namesOf(await page(`limit=1&cursor=${nextCursor}`))).toEqual(["Mary"]);
    const profiles = await client.get(`/api/v1/profiles?limit=1&cursor=${nextCursor}`);
    expect(namesOf(profiles.json as Page)).toEqual(["Mary"]);
  });

  test("is refused when any of its characters was changed", async () => {
    const { nextCursor } = await page("limit=2");
    const cursor = nextCursor ?? "";
    const forged = Array.from(
      cursor,
      (character, at) => cursor.slice(0, at) + (character === "A" ? "B" : "A") + cursor.slice(at + 1),
    );

    const codes = await Promise.all(
      forged.map(async (text) => problemOf(await client.get(`${USERS}?limit=2&cursor=${text}`)).code),
    );

    expect(new Set(codes)).toEqual(new Set(["INVALID_CURSOR"]));
  });

  test("does not show in the open where a page ended", async () => {
    const { nextCursor } = await page("sort=lastName&limit=2");

    expect(nextCursor).toMatch(/^[\w-]+$/);
  });
});

async function page(query: string): Promise<Page> {
  const response = await client.get(`${USERS}?${query}`);
  expect(response.status).toBe(200);
  return response.json as Page;
}

/** The pages from `path` on, by their links. */
async function followNext(path: string): Promise<Page[]> {
  const pages: Page[] = [];
  for (let next: string | undefined = path; next !== undefined;) {
    const response = await client.get(next);
    pages.push(response.json as Page);
    next = nextOf(response.headers.link);
  }
  return pages;
}

function nextOf(link: string | string[] | undefined): string | undefined {
  return /<([^>]+)>; rel="next"/.exec(String(link))?.[1];
}

function namesOf({ data }: Page): string[] {
  return data.map(({ firstName }) => firstName);
}
