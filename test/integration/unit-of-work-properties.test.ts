import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { ServiceBroker } from "moleculer";

import { call } from "../../lib/contracts.ts";
import type { User } from "../../services/users/users.contract.ts";
import { ask, withKey, type Answer } from "../support/requests.ts";
import { refuseEventsOf, storedEvents, storedUsers, type StoredEvent } from "../support/stored-rows.ts";
import { startTestNodes, startUsersPair, type TestNodes } from "../support/test-nodes.ts";

const USERS = 3;
const PREPARED = "prepared";
const REFUSED = "refused";

const ACTIONS = ["users.create", "users.update", "users.delete", "users.restore"] as const;

/** What a client may send. Few users, names, addresses and keys, so that requests get into each other's way. */
const operations = fc.array(
  fc.record({
    action: fc.constantFrom(...ACTIONS, "users.update", "users.update"),
    user: fc.nat(USERS - 1),
    lastName: fc.constantFrom("Byron", "King", "Lovelace"),
    address: fc.option(fc.nat(4), { freq: 2 }),
    expectedVersions: fc.option(fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 4 }), { freq: 2 }),
    key: fc.option(fc.nat(4), { freq: 2 }),
    /** Sent so many times at once. */
    copies: fc.integer({ min: 1, max: 3 }),
    /** Its transaction fails after it has changed its row. */
    isRefused: fc.nat(4).map((number) => number === 0),
  }),
  { minLength: 10, maxLength: 30 },
);
type Operation = typeof operations extends fc.Arbitrary<(infer One)[]> ? One : never;

/** One call, and how it ended. */
interface Call {
  readonly operation: Operation;
  readonly params: object;
  readonly requestID: string;
  readonly key: string;
  readonly answer?: Answer<User | null>;
  readonly error?: { readonly type?: string };
}

let nodes: TestNodes;
let brokers: ServiceBroker[];

beforeAll(async () => {
  nodes = await startTestNodes();
  const { a, b, caller } = await startUsersPair(nodes);
  brokers = [a, b, caller];
  await refuseEventsOf(nodes, REFUSED);
});

afterAll(() => nodes.stop());

test("however requests to two nodes interleave, repeat and fail, every change is whole and none is lost", async () => {
  await fc.assert(
    fc.asyncProperty(operations, async (list) => {
      const run = randomUUID();
      const calls = await runAll(run, list);

      const events = (await storedEvents(nodes)).filter(({ data }) => String(data["email"]).includes(run));
      const users = await storedUsers(nodes, run);
      const keys = await keptKeys(run);
      expect([
        ...brokenHistories(users, events),
        ...brokenExecutions(calls, events),
        ...brokenKeys(calls, keys),
        ...unknownErrors(calls),
      ]).toEqual([]);
    }),
    // What depends on timing cannot be shrunk.
    { numRuns: 12, endOnFailure: true },
  );
});

/** Sends all requests at once, over both nodes. */
async function runAll(run: string, list: readonly Operation[]): Promise<Call[]> {
  const ids = await Promise.all(
    Array.from({ length: USERS }, async (_, index) => {
      const params = { email: `${run}-user-${index}@example.com`, firstName: "Ada", lastName: "Lovelace" };
      return (await call(anyBroker(index), "users.create", params, { requestID: PREPARED })).id;
    }),
  );
  const sending = list.flatMap((operation, index) => {
    const name = `${run}-${index}`;
    const email = `${run}-${operation.address ?? `own-${index}`}@example.com`;
    const params = paramsOf(operation, ids[operation.user] ?? "", email);
    const key = operation.key === null ? name : `${run}-shared-${operation.key}`;
    return Array.from({ length: operation.copies }, async (_, copy): Promise<Call> => {
      const requestID = `${operation.isRefused ? REFUSED : "request"}-${name}-${copy}`;
      const sent = { operation, params, requestID, key };
      const options = withKey(key, { requestID });
      return ask(anyBroker(index + copy), operation.action, params as never, options).then(
        (answer) => ({ ...sent, answer }),
        (error: NonNullable<Call["error"]>) => ({ ...sent, error }),
      );
    });
  });
  return Promise.all(sending);
}

function anyBroker(index: number): ServiceBroker {
  const broker = brokers[index % brokers.length];
  if (!broker) throw new Error("no broker");
  return broker;
}

function paramsOf(operation: Operation, id: string, email: string): object {
  const { action, lastName, address, expectedVersions } = operation;
  if (action === "users.create") return { email, firstName: "Ada", lastName };
  const changes = { lastName, ...(address !== null && { email }) };
  return {
    id,
    ...(expectedVersions && { expectedVersions }),
    ...(action === "users.update" && changes),
  };
}

/** Each row is the last of its events, and each event is the one before with just what it says was changed. */
function brokenHistories(users: readonly User[], events: readonly StoredEvent[]): string[] {
  const histories = Map.groupBy(events, ({ subject }) => subject);
  const ids = new Set(users.map(({ id }) => id));
  const rowless = events
    .filter(({ subject }) => !ids.has(subject))
    .map(({ subject }) => `no row of ${subject}`);
  const broken = users.flatMap((user) => {
    const history = histories.get(user.id) ?? [];
    const isGapless = history.every(({ data }, index) => data.version === index + 1);
    const isLastTheRow = isDeepStrictEqual(history.at(-1)?.data, user);
    const isEachTheNext = history.slice(1).every((event, index) => isNextAfter(history[index], event));
    return isGapless && isLastTheRow && isEachTheNext ? [] : [describeHistory(user, history)];
  });
  return [...rowless, ...broken];
}

function isNextAfter(before: StoredEvent | undefined, { data, changedFields }: StoredEvent): boolean {
  const mayChange = new Set([...changedFields, "version", "updatedAt"]);
  return Object.keys(data).every(
    (field) => mayChange.has(field) || isDeepStrictEqual(data[field], before?.data[field]),
  );
}

function describeHistory(user: User, history: readonly StoredEvent[]): string {
  return `row ${JSON.stringify(user)} with events ${JSON.stringify(history, null, 1)}`;
}

/** A call has an event if and only if it was executed, succeeded and changed something; then it did as it was told. */
function brokenExecutions(calls: readonly Call[], events: readonly StoredEvent[]): string[] {
  const eventsOf = Map.groupBy(events, ({ requestId }) => requestId);
  const sent = new Set([PREPARED, ...calls.map(({ requestID }) => requestID)]);
  const strange = events
    .filter(({ requestId }) => !sent.has(requestId))
    .map(({ requestId }) => `event of ${requestId}`);
  const broken = calls.filter((one) => !isExecutedRight(one, eventsOf.get(one.requestID) ?? []));
  return [...strange, ...broken.map((one) => `call ${JSON.stringify(one)}`)];
}

function isExecutedRight({ operation, answer }: Call, events: readonly StoredEvent[]): boolean {
  if (!answer || answer.isReplay) return events.length === 0;
  const { action, lastName, expectedVersions } = operation;
  const [event, ...others] = events;
  const hasRightEvents = others.length === 0 && (event !== undefined || action === "users.update");
  const isResultOfEvent = !event || !answer.result || isDeepStrictEqual(answer.result, event.data);
  const isAsTold = action !== "users.update" || answer.result?.lastName === lastName;
  // Without an event nothing was changed: the version that it found is the one in its answer.
  const found = event ? event.data.version - 1 : answer.result?.version;
  const isExpected = action === "users.create" || !expectedVersions || expectedVersions.includes(found ?? 0);
  return hasRightEvents && isResultOfEvent && isAsTold && isExpected;
}

/** A key is kept if and only if one call with it was executed; all others that succeed are the same and have the same answer. */
function brokenKeys(calls: readonly Call[], kept: readonly string[]): string[] {
  const byKey = Map.groupBy(calls, ({ operation, key }) => `${operation.action} ${key}`);
  const strange = kept.filter((key) => !byKey.has(key));
  const broken = [...byKey].filter(([key, sameKey]) => {
    const answered = sameKey.filter(({ answer }) => answer !== undefined);
    const executions = answered.filter(({ answer }) => answer?.isReplay === false).length;
    const requests = new Set(answered.map(({ params }) => JSON.stringify(params)));
    const results = new Set(answered.map(({ answer }) => JSON.stringify(answer?.result)));
    const isKept = kept.includes(key);
    return ![executions, requests.size, results.size].every((count) => count === (isKept ? 1 : 0));
  });
  return [...strange, ...broken.map(([key]) => key)].map((key) => `key ${key}`);
}

async function keptKeys(run: string): Promise<string[]> {
  const rows = await nodes.sql<{ name: string }>(
    "SELECT action || ' ' || key AS name FROM events.idempotency WHERE key LIKE $1",
    [`${run}%`],
  );
  return rows.map(({ name }) => name);
}

const KNOWN_ERRORS = new Set([
  "EMAIL_TAKEN",
  "IDEMPOTENCY_IN_FLIGHT",
  "IDEMPOTENCY_KEY_REUSED",
  "PRECONDITION_FAILED",
  "USER_NOT_DELETED",
  "USER_NOT_FOUND",
  // Two users who swap their addresses are a deadlock, of which PostgreSQL ends one.
  "DATABASE_UNAVAILABLE",
]);

function unknownErrors(calls: readonly Call[]): string[] {
  return calls.flatMap(({ operation, error }) => {
    const isKnown =
      KNOWN_ERRORS.has(error?.type ?? "") || (operation.isRefused && error?.type === "INTERNAL_ERROR");
    return error && !isKnown ? [`error ${error.type} of ${JSON.stringify(operation)}`] : [];
  });
}
