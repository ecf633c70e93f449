import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Errors, type ServiceBroker } from "moleculer";

import { appError } from "../../../broker/errors.ts";
import { createTestBroker } from "../../support/test-broker.ts";
import { waitFor } from "../../support/wait-for.ts";

/** Long enough for what a test does before it. */
const HALF_OPEN_MS = 250;
/** So many calls are needed before a circuit can open. */
const MIN_CALLS = 20;

let broker: ServiceBroker;
/** What the action does. */
let answer: () => unknown;

beforeEach(async () => {
  broker = createTestBroker();
  broker.createService({
    name: "work",
    actions: {
      do: {
        circuitBreaker: { halfOpenTime: HALF_OPEN_MS },
        retryPolicy: { enabled: false },
        handler: () => answer(),
      },
    },
  });
  await broker.start();
});

afterEach(() => broker.stop());

const failure = (fields: object) => () => Promise.reject(Object.assign(new Error("failed"), fields));
const badInput = failure({ code: 422, type: "VALIDATION_ERROR" });

const call = () => broker.call("work.do");
const isOpen = () => !broker.registry.actions.isAvailable("work.do");

/** Calls the action until its circuit can open. */
async function callOften(): Promise<void> {
  for (let count = 0; count < MIN_CALLS; count += 1) await call().catch(() => undefined);
}

async function openCircuit(): Promise<void> {
  answer = failure({ code: 500 });
  await callOften();
}

const untilHalfOpen = () =>
  waitFor(() => !isOpen(), { description: "the circuit to be half open", intervalMs: 5 });

describe("a circuit", () => {
  test.each([
    { code: 500 },
    { code: 503, type: "DATABASE_UNAVAILABLE" },
    { code: 504, type: "REQUEST_TIMEOUT" },
    { code: "ECONNREFUSED" },
    { code: "57P01" },
    {},
  ])("opens after errors such as %j", async (fields) => {
    answer = failure(fields);
    await callOften();
    expect(isOpen()).toBe(true);
    await expect(call()).rejects.toMatchObject({ type: "SERVICE_NOT_AVAILABLE" });
  });

  test.each([
    { code: 400 },
    { code: 404, type: "USER_NOT_FOUND" },
    { code: 409 },
    { code: 422 },
    { code: 429 },
  ])("stays closed after answers such as %j", async (fields) => {
    answer = failure(fields);
    await callOften();
    await expect(call()).rejects.toMatchObject(fields);
  });

  test("stays closed when the node's own connection was lost", async () => {
    answer = () => Promise.reject(appError("SERVICE_UNAVAILABLE"));
    await callOften();
    expect(isOpen()).toBe(false);
  });

  test("stays closed when more is asked of an action than it takes", async () => {
    answer = () => Promise.reject(appError("OVERLOADED"));
    await callOften();
    expect(isOpen()).toBe(false);
  });

  test("stays closed while fewer than half of the calls fail", async () => {
    let count = 0;
    answer = () => ((count += 1) % 3 === 0 ? Promise.reject(new Error("failed")) : "done");
    await callOften();
    await callOften();
    expect(isOpen()).toBe(false);
  });
});

describe("a half-open circuit", () => {
  test("closes when its trial call succeeds", async () => {
    await openCircuit();
    await untilHalfOpen();
    answer = () => "done";
    await expect(call()).resolves.toBe("done");
    await expect(Promise.all([call(), call()])).resolves.toEqual(["done", "done"]);
  });

  test("closes when its trial call is answered with a 4xx, which Moleculer takes for nothing", async () => {
    await openCircuit();
    await untilHalfOpen();
    answer = badInput;
    await expect(call()).rejects.toMatchObject({ code: 422 });
    expect(isOpen()).toBe(false);
    answer = () => "done";
    await expect(Promise.all([call(), call()])).resolves.toEqual(["done", "done"]);
  });

  test("counts from zero once it has closed", async () => {
    await openCircuit();
    await untilHalfOpen();
    answer = badInput;
    await expect(call()).rejects.toMatchObject({ code: 422 });
    answer = failure({ code: 500 });
    for (let count = 1; count < MIN_CALLS; count += 1) await call().catch(() => undefined);
    expect(isOpen()).toBe(false);
    await call().catch(() => undefined);
    expect(isOpen()).toBe(true);
  });

  test("lets one trial call through, and stays open when that fails", async () => {
    await openCircuit();
    await untilHalfOpen();
    const trial = Promise.withResolvers<never>();
    let trials = 0;
    answer = () => {
      trials += 1;
      return trial.promise;
    };
    const calling = call();
    await expect(call()).rejects.toBeInstanceOf(Errors.ServiceNotAvailableError);
    expect(trials).toBe(1);
    trial.reject(new Error("failed"));
    await expect(calling).rejects.toThrow("failed");
    expect(isOpen()).toBe(true);
  });
});
