import { afterEach, describe, expect, test } from "@jest/globals";

import { DependencyMonitor } from "../../../lib/dependency-monitor.ts";
import { capturingLogger } from "../../support/capturing-logger.ts";
import { waitFor } from "../../support/wait-for.ts";

const INTERVAL_MS = 5;
const TIMEOUT_MS = 30;

/** How a dependency answers a check. */
type Behaviour = "works" | "fails" | "hangs";

const monitors: DependencyMonitor[] = [];

afterEach(() => {
  for (const monitor of monitors.splice(0)) monitor.stop();
});

/** A monitor of a dependency that behaves as the test says. */
function watch(behaviour: Behaviour) {
  const { log, entries } = capturingLogger();
  const dependency = { behaviour, checks: 0, releases: 0, log: entries };
  const check = async () => {
    dependency.checks += 1;
    if (dependency.behaviour === "fails") throw new Error("connection refused");
    if (dependency.behaviour === "hangs") await new Promise(() => undefined);
  };
  const release = () => (dependency.releases += 1);
  const monitor = new DependencyMonitor({
    name: "redis",
    check,
    release,
    log,
    intervalMs: INTERVAL_MS,
    timeoutMs: TIMEOUT_MS,
  });
  monitors.push(monitor);
  return { monitor, dependency };
}

type Watched = ReturnType<typeof watch>["dependency"];

const messages = ({ log }: Watched) => log.map(({ msg }) => msg);

async function moreChecks(dependency: Watched, count: number): Promise<void> {
  const wanted = dependency.checks + count;
  await waitFor(() => dependency.checks >= wanted, { description: `${count} more checks`, intervalMs: 2 });
}

const untilStatus = (monitor: DependencyMonitor, status: "up" | "down") =>
  waitFor(() => monitor.status.status === status, { description: `the status ${status}`, intervalMs: 2 });

describe("a dependency", () => {
  test("counts as down until its first check", () => {
    const { monitor } = watch("works");
    expect(monitor.isUp).toBe(false);
    expect(monitor.status).toEqual({ status: "down", latencyMs: null });
  });

  test("that works is up once the monitor has started, with the duration of the check", async () => {
    const { monitor, dependency } = watch("works");
    await monitor.start();
    expect(monitor.status).toEqual({ status: "up", latencyMs: expect.any(Number) });
    expect(messages(dependency)).toEqual([]);
  });

  test("that hangs counts as down after the timeout", async () => {
    const { monitor, dependency } = watch("works");
    await monitor.start();
    dependency.behaviour = "hangs";
    await untilStatus(monitor, "down");
    expect(monitor.status.latencyMs).toBeNull();
    expect(dependency.log).toMatchObject([{ err: { message: `no answer within ${TIMEOUT_MS} ms` } }]);
  });

  test("that hangs from the beginning does not hold the start for longer than the timeout", async () => {
    const { monitor } = watch("hangs");
    await monitor.start();
    expect(monitor.isUp).toBe(false);
  });
});

describe("the log", () => {
  test("has one line when a dependency is lost and one when it is back, however often it is checked", async () => {
    const { monitor, dependency } = watch("works");
    await monitor.start();
    await moreChecks(dependency, 3);
    dependency.behaviour = "fails";
    await moreChecks(dependency, 4);
    dependency.behaviour = "works";
    await untilStatus(monitor, "up");
    await moreChecks(dependency, 3);

    expect(dependency.log).toMatchObject([
      { level: 50, dependency: "redis", err: { message: "connection refused" }, msg: "dependency lost" },
      { level: 30, dependency: "redis", msg: "dependency back" },
    ]);
  });

  test("has both lines for each loss", async () => {
    const { monitor, dependency } = watch("works");
    await monitor.start();
    for (const status of ["down", "up", "down", "up"] as const) {
      dependency.behaviour = status === "up" ? "works" : "fails";
      await untilStatus(monitor, status);
    }
    expect(messages(dependency)).toEqual([
      "dependency lost",
      "dependency back",
      "dependency lost",
      "dependency back",
    ]);
  });

  test("says that a dependency is away which was never there", async () => {
    const { monitor, dependency } = watch("fails");
    await monitor.start();
    dependency.behaviour = "works";
    await untilStatus(monitor, "up");
    expect(messages(dependency)).toEqual(["dependency lost", "dependency back"]);
  });
});

describe("waiting until it is up", () => {
  test("ends with the first check that succeeds", async () => {
    const { monitor, dependency } = watch("fails");
    await monitor.start();
    let isUp = false;
    const waiting = monitor.untilUp().then(() => (isUp = true));
    await moreChecks(dependency, 2);
    expect(isUp).toBe(false);
    dependency.behaviour = "works";
    await waiting;
    expect(monitor.isUp).toBe(true);
  });

  test("ends at once when it is", async () => {
    const { monitor } = watch("works");
    await monitor.start();
    await expect(monitor.untilUp()).resolves.toBeUndefined();
  });
});

describe("a report from elsewhere", () => {
  test("counts before the next check does, and is logged once", async () => {
    const { monitor, dependency } = watch("works");
    await monitor.start();
    dependency.behaviour = "fails";
    monitor.report(false, new Error("the connection was lost"));
    expect(monitor.isUp).toBe(false);
    await moreChecks(dependency, 2);
    expect(dependency.log).toMatchObject([
      { err: { message: "the connection was lost" }, msg: "dependency lost" },
    ]);

    monitor.report(true);
    expect(monitor.isUp).toBe(true);
    expect(messages(dependency)).toEqual(["dependency lost", "dependency back"]);
  });

  test("of what is known changes nothing", async () => {
    const { monitor, dependency } = watch("works");
    await monitor.start();
    monitor.report(true);
    expect(messages(dependency)).toEqual([]);
  });
});

describe("a monitor that was stopped", () => {
  test("checks no more, lets go of what it held, and logs nothing", async () => {
    const { monitor, dependency } = watch("works");
    await monitor.start();
    monitor.stop();
    const { checks } = dependency;
    monitor.report(false, new Error("closed"));

    // Another one that was started now has been through several intervals.
    const other = watch("works");
    await other.monitor.start();
    await moreChecks(other.dependency, 3);
    expect(dependency).toMatchObject({ checks, releases: 1, log: [] });
  });

  test("in the middle of a check does not go on after it", async () => {
    const { monitor, dependency } = watch("hangs");
    const started = monitor.start();
    monitor.stop();
    await started;
    const other = watch("works");
    await other.monitor.start();
    await moreChecks(other.dependency, 3);
    expect(dependency).toMatchObject({ checks: 1, log: [] });
  });
});
