import { describe, expect, test } from "@jest/globals";

import { joinReports, overallStatus } from "../../../lib/health.ts";

const UP = { status: "up", latencyMs: 1 } as const;
const DOWN = { status: "down", latencyMs: null } as const;

test("what several nodes say of the same dependency is the worst of it", () => {
  expect(joinReports([{ redis: UP, users: UP }, { redis: DOWN }, { redis: UP }])).toEqual({
    redis: DOWN,
    users: UP,
  });
});

describe("the status of a node", () => {
  test("is up when all that it needs is up, or when it needs nothing", () => {
    expect(overallStatus({ postgresql: UP, redis: UP })).toBe("up");
    expect(overallStatus({})).toBe("up");
  });

  test.each(["redis", "replica-1", "replica-12", "auth", "storage", "images"])(
    "is degraded without %s, which no request of a session needs",
    (name) => {
      expect(overallStatus({ postgresql: UP, [name]: DOWN })).toBe("degraded");
    },
  );

  test.each(["postgresql", "nats", "users", "redis2", "replica-"])("is down without %s", (name) => {
    expect(overallStatus({ [name]: DOWN, redis: UP })).toBe("down");
    expect(overallStatus({ [name]: DOWN, redis: DOWN })).toBe("down");
  });
});
