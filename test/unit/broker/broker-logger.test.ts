import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";

import { brokerLogger } from "../../../broker/broker-logger.ts";
import { capturingLogger } from "../../support/capturing-logger.ts";

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

test("that a service is missing is said at once, and then at most every ten seconds", () => {
  const { log, entries } = capturingLogger();
  const broker = brokerLogger(log, "info", { mod: "broker" });
  for (let call = 0; call < 1000; call++) broker.warn("Service 'auth.login' is not registered.");
  broker.warn("Service 'users.get' is not available.");
  const said = () => entries.map(({ msg }) => msg);
  expect(said()).toEqual([
    "Service 'auth.login' is not registered.",
    "Service 'users.get' is not available.",
  ]);

  jest.advanceTimersByTime(60_000);
  expect(said()).toHaveLength(3);
});

test("other warnings of the broker are all said, and its notes on how it starts are not", () => {
  const { log, entries } = capturingLogger();
  const broker = brokerLogger(log, "info", { mod: "broker" });
  for (let time = 0; time < 3; time++) broker.warn("something else");
  broker.info("Moleculer is starting");

  expect(entries.map(({ level, mod, msg }) => [level, mod, msg])).toEqual([
    [40, "broker", "something else"],
    [40, "broker", "something else"],
    [40, "broker", "something else"],
  ]);
});

test("other parts of Moleculer keep their level, under the name of their service", () => {
  const { log, entries } = capturingLogger();
  brokerLogger(log, "info", { mod: "users", svc: "users" }).info("started");
  expect(entries).toMatchObject([{ level: 30, mod: "users", svc: "users", msg: "started" }]);
});
