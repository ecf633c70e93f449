import { isDeepStrictEqual } from "node:util";

import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Context, ServiceBroker } from "moleculer";

import type { ActionCache, Cacher } from "../../broker/cache/cacher.ts";
import { newId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { as } from "../support/requests.ts";
import { createTestBroker } from "../support/test-broker.ts";

const PAIRS = 100_000;
const [ADA, GRACE, NOBODY] = [newId(), newId(), newId()];
/** Ids as clients may write them, and texts that keys put together from texts trip over. */
const IDS = [
  ADA,
  GRACE,
  NOBODY,
  ADA.toUpperCase(),
  `${ADA}|${GRACE}`,
  `${ADA}"|id|"${GRACE}`,
  `${GRACE}*`,
  "*",
];
const NAMES = ["a", "id|", '"', "userId", "principal"];
const VALUES = [1, "1", null, true, "", "|", ":", ADA, GRACE, [ADA], { id: GRACE }, 'x"|b|"y'];

type Params = Readonly<Record<string, unknown>>;

const PRINCIPALS: Readonly<Record<string, Principal>> = {
  ada: { kind: "user", id: ADA, role: "user" },
  grace: { kind: "user", id: GRACE, role: "user" },
  "a backend that may read": { kind: "api-key", id: newId(), scopes: ["users:read"] },
  "a backend that may only write": { kind: "api-key", id: newId(), scopes: ["users:write"] },
};

/** What each may have, said without the access table. */
const MAY_READ: Readonly<Record<string, (id: string) => boolean>> = {
  ada: (id) => id.toLowerCase() === ADA,
  grace: (id) => id.toLowerCase() === GRACE,
  "a backend that may read": () => true,
  "a backend that may only write": () => false,
};

/** The same numbers in every run (Park and Miller). */
let seed = 1;
function oneOf<T>(values: readonly T[]): T {
  seed = (seed * 48_271) % 2_147_483_647;
  return values[seed % values.length] as T;
}

function randomCall(): Params {
  const others = Array.from({ length: oneOf([0, 0, 1, 2]) }, () => [oneOf(NAMES), oneOf(VALUES)] as const);
  return { ...Object.fromEntries(others), id: oneOf(IDS) };
}

let broker: ServiceBroker;

beforeAll(async () => {
  broker = createTestBroker({ CACHE_MAX_ENTRIES: "100000" });
  const cache: ActionCache = { near: true, id: "id" };
  broker.createService({
    name: "users",
    actions: {
      get: {
        cache: cache as object,
        // Says what it was asked for, so an answer says whose it is.
        handler: ({ params }: Context<Params>) => ({ ...params }),
      },
    },
  });
  await broker.start();
});

afterAll(() => broker.stop());

/** Whether somebody gets what belongs to this call and to nobody else, or is refused if it may not have it. */
async function isRight(who: string, params: Params): Promise<boolean> {
  const mayRead = MAY_READ[who]?.(String(params["id"]));
  const answer = await broker
    .call("users.get", params, as(PRINCIPALS[who] as Principal))
    .catch((error: { type: unknown }) => error.type);
  return mayRead ? isDeepStrictEqual(answer, params) : answer === "FORBIDDEN";
}

describe("of 100,000 random pairs of calls by two principals", () => {
  test("none gives one of them what only the other may have, or what belongs to another call", async () => {
    const wrong: unknown[] = [];
    for (let count = 0; count < PAIRS; count += 1) {
      for (const who of [oneOf(Object.keys(PRINCIPALS)), oneOf(Object.keys(PRINCIPALS))]) {
        const params = randomCall();
        if (!(await isRight(who, params))) wrong.push({ who, params });
      }
    }
    expect(wrong).toEqual([]);
    const { hits } = (broker.cacher as Cacher).cache.statistics.of("memory", "users.get");
    expect(hits).toBeGreaterThan(PAIRS / 4);
  });
});
