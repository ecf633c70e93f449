import type { LoadSpec } from "./load.ts";
import type { Load, Options } from "./options.ts";
import { cursorAfter, firstCursors } from "./pages.ts";
import { sampleIds } from "./seed.ts";
import type { Servers } from "./servers.ts";
import type { Side } from "./sides.ts";

/** A load that both sides are put under, request for request the same but for the cursors, which are each side's own. */
export interface Case {
  load: Load;
  title: string;
  connections: number;
  /** Least share of the peer's requests/s that Rollcall has to reach; undefined: none is set. */
  target?: number;
  spec(side: Side): Omit<LoadSpec, "connections" | "seconds">;
}

/** The page a deep list is measured at, when there are that many. */
const DEEP_PAGE = 10_000;
const PAGE_SIZE = 50;
const SAMPLED_IDS = 50_000;
/** How many different pages the list is asked for. */
const LIST_PAGES = 100;
const TARGET = 0.8;

/** Reads must reach the database on both sides. */
const UNCACHED = { "cache-control": "no-cache" };

const pagePath = (cursor?: string): string =>
  `/api/v1/users?limit=${PAGE_SIZE}&sort=-createdAt${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;

/** The cases of the chosen loads; asks both sides for the cursors these need. */
export async function prepareCases(options: Options, sides: Side[], { database }: Servers): Promise<Case[]> {
  const cases: Case[] = [];
  for (const load of options.loads) {
    const make = await makers[load]({ options, sides, database });
    cases.push(...make);
  }
  return cases;
}

interface Preparation {
  options: Options;
  sides: Side[];
  database: Servers["database"];
}

const makers: Record<Load, (preparation: Preparation) => Promise<Case[]>> = {
  async get({ options, database }) {
    const paths = (await sampleIds(database, SAMPLED_IDS)).map((id) => `/api/v1/users/${id}`);
    return options.connections.map((connections) => ({
      load: "get",
      title: "GET /users/:id, uncached, random ids",
      connections,
      target: TARGET,
      spec: ({ baseUrl }) => ({ baseUrl, paths, creates: false, headers: UNCACHED }),
    }));
  },

  async list({ options, sides }) {
    const paths = await forEachSide(sides, async (side) => {
      const cursors = await firstCursors(side, LIST_PAGES, PAGE_SIZE);
      return cursors.map(pagePath);
    });
    return options.connections.map((connections) => ({
      load: "list",
      title: `GET /users, ${PAGE_SIZE} a page, pages 1 to ${LIST_PAGES}`,
      connections,
      target: TARGET,
      spec: (side) => ({ baseUrl: side.baseUrl, paths: paths(side), creates: false, headers: UNCACHED }),
    }));
  },

  async deep({ options, sides }) {
    const number = Math.min(DEEP_PAGE, Math.floor(options.users / PAGE_SIZE));
    const deepPaths = await forEachSide(sides, async (side) => [
      pagePath(await cursorAfter(side, (number - 1) * PAGE_SIZE)),
    ]);
    const pages = [
      { title: "page 1", paths: () => [pagePath()] },
      { title: `page ${number.toLocaleString("en")}`, paths: deepPaths },
    ];
    // One connection: how long a page takes. Many: what it costs.
    return [1, Math.max(...options.connections)].flatMap((connections) =>
      pages.map(({ title, paths }) => ({
        load: "deep" as const,
        title: `GET /users, ${PAGE_SIZE} a page, ${title}`,
        connections,
        spec: (side: Side) => ({
          baseUrl: side.baseUrl,
          paths: paths(side),
          creates: false,
          headers: UNCACHED,
        }),
      })),
    );
  },

  async create({ options }) {
    return options.connections.map((connections) => ({
      load: "create",
      title: "POST /users",
      connections,
      target: TARGET,
      spec: ({ baseUrl }) => ({
        baseUrl,
        paths: ["/api/v1/users"],
        creates: true,
        headers: { "content-type": "application/json" },
      }),
    }));
  },
};

/** Prepares something for each side and gives a look-up of it. */
async function forEachSide<T>(
  sides: Side[],
  prepare: (side: Side) => Promise<T>,
): Promise<(side: Side) => T> {
  const prepared = new Map<Side, T>();
  for (const side of sides) prepared.set(side, await prepare(side));
  return (side) => prepared.get(side) as T;
}
