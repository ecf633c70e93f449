import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import type { User } from "../../services/users/users.contract.ts";
import { newUser } from "../support/rest-client.ts";
import { startRedis } from "../support/redis.ts";
import type { TestServer } from "../support/server-process.ts";
import { startTestNodes, startUsersPair, type TestNodes } from "../support/test-nodes.ts";
import { waitFor } from "../support/wait-for.ts";

let nodes: TestNodes;
let redis: TestServer;
let a: ServiceBroker;
let caller: ServiceBroker;
let user: User;

beforeAll(async () => {
  [nodes, redis] = await Promise.all([startTestNodes(), startRedis()]);
  ({ a, caller } = await startUsersPair(nodes, { REDIS_URL: redis.url }));
});

beforeEach(async () => {
  user = await call(caller, "users.create", newUser());
});

afterAll(async () => {
  await nodes.stop();
  await redis.stop();
});

interface Reading {
  /** The user, or the code of the error. */
  answer: User | string;
  cacheStatus: string | undefined;
}

/** Reads a user on the node that has none, and so over NATS unless its own cache answers. */
async function read(id: string, meta: { $cache?: boolean; principal?: object } = {}): Promise<Reading> {
  const calling = caller.call("users.get", { id }, { meta: { ...meta } }) as Promise<User> & {
    ctx?: { meta: { $cacheStatus?: string } };
  };
  const answer = await calling.catch((error: { type: string }) => error.type);
  return { answer, cacheStatus: calling.ctx?.meta.$cacheStatus };
}

const untilStatus = (id: string, cacheStatus: string): Promise<Reading> =>
  waitFor(
    async () => {
      const reading = await read(id);
      return reading.cacheStatus === cacheStatus && reading;
    },
    { description: `a reading with ${cacheStatus}` },
  ) as Promise<Reading>;

const changePastTheProduct = (id: string): Promise<unknown> =>
  nodes.sql("UPDATE users.users SET nickname = 'past the product' WHERE id = $1", [id]);

/**
 * Prepares a reading until it is answered from memory: one that on a busy machine has heard for too long of no change, and
 * so cannot know that there was none, is not used.
 *
 * @param prepare gives the id of what is read
 */
const untilFromMemory = async (prepare: () => Promise<string>): Promise<Reading["answer"]> => {
  const reading = (await waitFor(
    async () => {
      const next = await read(await prepare());
      return next.cacheStatus === "hit; detail=memory" && next;
    },
    { description: "an answer from memory" },
  )) as Reading;
  return reading.answer;
};

describe("the cache of a caller", () => {
  test("answers from its memory what it has read once, without the node that has the action", async () => {
    const answer = await untilFromMemory(async () => {
      user = await call(caller, "users.create", newUser());
      await untilStatus(user.id, "hit; detail=memory");
      await changePastTheProduct(user.id);
      return user.id;
    });
    expect(answer).toEqual(user);
  });

  test("says that the answer came from Redis, where the node that made the user has put it", async () => {
    // Several, since on a busy machine Redis may keep a call waiting for too long.
    const readNew = async () => (await read((await call(a, "users.create", newUser())).id)).cacheStatus;
    const isHit = async () => (await readNew()) === "hit; detail=redis";
    await expect(waitFor(isHit, { description: "a hit in Redis" })).resolves.toBe(true);
  });

  test("asks for fresh data when the caller wants it, and answers with that from then on", async () => {
    await untilStatus(user.id, "hit; detail=memory");
    await changePastTheProduct(user.id);
    const fresh = { ...user, nickname: "past the product" };
    const readFresh = async (): Promise<string> => {
      await expect(read(user.id, { $cache: false })).resolves.toEqual({
        answer: fresh,
        cacheStatus: "fwd=request; detail=database",
      });
      return user.id;
    };
    expect(await untilFromMemory(readFresh)).toEqual(fresh);
  });

  test("hears of every change: of an update, a deletion, a restoration", async () => {
    await untilStatus(user.id, "hit; detail=memory");
    const heard = (matches: (reading: Reading) => boolean) =>
      waitFor(async () => matches(await read(user.id)), { description: "the change to be heard of" });

    await call(a, "users.update", { id: user.id, nickname: "Countess" });
    await heard(({ answer }) => (answer as User).nickname === "Countess");
    await call(a, "users.delete", { id: user.id });
    await heard(({ answer }) => answer === "USER_NOT_FOUND");
    await call(a, "users.restore", { id: user.id });
    await heard(({ answer }) => (answer as User).version === 4);
    await call(a, "users.erase", { id: user.id });
    await heard(({ answer }) => answer === "USER_NOT_FOUND");
    expect((await read(user.id)).answer).toBe("USER_NOT_FOUND");
  });

  test("remembers that there is no such user", async () => {
    const readUnknown = async (): Promise<string> => {
      const id = randomUUID();
      const { cacheStatus } = await read(id);
      expect(cacheStatus).toMatch(/^fwd=miss;/);
      return id;
    };
    expect(await untilFromMemory(readUnknown)).toBe("USER_NOT_FOUND");
  });

  test("does not cache what is asked for by an id in capitals", async () => {
    const id = user.id.toUpperCase();
    for (let count = 0; count < 2; count += 1) {
      await expect(read(id)).resolves.toEqual({ answer: user, cacheStatus: "fwd=bypass; detail=database" });
    }
  });

  test("has no answer for those who may not read the user", async () => {
    await untilStatus(user.id, "hit; detail=memory");
    const other = await call(caller, "users.create", newUser());
    const principalOf = ({ id }: User) => ({ principal: { kind: "user", id, role: "user" } });
    await expect(read(user.id, principalOf(user))).resolves.toMatchObject({ answer: user });
    await expect(read(user.id, principalOf(other))).resolves.toEqual({
      answer: "FORBIDDEN",
      cacheStatus: undefined,
    });
    await expect(read(user.id, { principal: { kind: "anonymous" } })).resolves.toMatchObject({
      answer: "UNAUTHENTICATED",
    });
  });

  test("gives the same object to all, which none can change", async () => {
    const { answer } = await untilStatus(user.id, "hit; detail=memory");
    expect(() => Object.assign(answer as User, { role: "admin" })).toThrow(TypeError);
    expect(() => (answer as User).imageUrls.push("x")).toThrow(TypeError);
  });
});
