import { describe, expect, test } from "@jest/globals";

import { quota, trustedProxies } from "../../../lib/rate-limit-settings.ts";

describe("a quota", () => {
  test.each([
    ["100/60s", { limit: 100, windowSeconds: 60 }],
    ["10/15m", { limit: 10, windowSeconds: 900 }],
    ["1/24h", { limit: 1, windowSeconds: 86_400 }],
    ["999999999/1s", { limit: 999_999_999, windowSeconds: 1 }],
  ])("is read from %j", (written, read) => {
    expect(quota.parse(written)).toEqual(read);
  });

  test.each([
    "0/60s",
    "100",
    "100/60",
    "100/60d",
    "1e3/60s",
    "-1/60s",
    "100/0s",
    "100 / 60s",
    "100/1.5m",
    "1/25h",
  ])("is not %j", (written) => {
    expect(quota.safeParse(written).success).toBe(false);
  });
});

describe("trusted proxies", () => {
  test.each([
    ["0", { count: 0 }],
    ["2", { count: 2 }],
    ["10.0.0.0/8, fd00::/8,192.0.2.1", { networks: ["10.0.0.0/8", "fd00::/8", "192.0.2.1"] }],
  ])("are read from %j", (written, read) => {
    expect(trustedProxies.parse(written)).toEqual(read);
  });

  test.each([
    "-1",
    "100",
    "one",
    "10.0.0.0/33",
    "10.0.0/8",
    "::/129",
    "10.0.0.0/",
    "10.0.0.1,",
    "10.0.0.0/8/8",
  ])("are not %j", (written) => {
    expect(trustedProxies.safeParse(written).success).toBe(false);
  });
});
