import type { IncomingMessage } from "node:http";

import { describe, expect, test } from "@jest/globals";

import { trustedProxies } from "../../../../lib/rate-limit-settings.ts";
import { addressKey, clientAddressReader, clientReader } from "../../../../services/api/client-address.ts";

/** The address of a request from this socket, with this X-Forwarded-For, behind these proxies. */
function addressOf(proxies: string, socket: string, forwarded?: string): string {
  const read = clientAddressReader(trustedProxies.parse(proxies));
  return read({
    socket: { remoteAddress: socket } as IncomingMessage["socket"],
    headers: forwarded === undefined ? {} : { "x-forwarded-for": forwarded },
  });
}

describe("without a proxy", () => {
  test("is that of the socket, whatever the header says", () => {
    expect(addressOf("0", "192.0.2.1")).toBe("192.0.2.1");
    expect(addressOf("0", "192.0.2.1", "198.51.100.7")).toBe("192.0.2.1");
  });

  test.each(["::ffff:192.0.2.1", "::FFFF:192.0.2.1", "::ffff:c000:201", "0:0:0:0:0:ffff:c000:0201"])(
    "is that of IPv4 for %s",
    (socket) => {
      expect(addressOf("0", socket)).toBe("192.0.2.1");
    },
  );

  test("of a socket that is closed is one of its own", () => {
    const read = clientAddressReader({ count: 0 });
    expect(read({ socket: {} as IncomingMessage["socket"], headers: {} })).toBe("");
  });
});

describe("behind a number of proxies", () => {
  test.each([
    ["1", "198.51.100.7", "198.51.100.7"],
    ["1", "203.0.113.9, 198.51.100.7", "198.51.100.7"],
    ["2", "203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"],
    ["1", "203.0.113.9,198.51.100.7 ", "198.51.100.7"],
  ])("%s: %j is from %s", (proxies, forwarded, client) => {
    expect(addressOf(proxies, "10.0.0.1", forwarded)).toBe(client);
  });

  test("is that of the last proxy when the header says less than it should", () => {
    expect(addressOf("1", "10.0.0.1")).toBe("10.0.0.1");
    expect(addressOf("3", "10.0.0.1", "198.51.100.7")).toBe("198.51.100.7");
  });
});

describe("behind proxies of some networks", () => {
  const proxies = "10.0.0.0/8, fd00::/8, 192.0.2.1";

  test.each([
    ["198.51.100.7, 10.1.2.3, 192.0.2.1", "198.51.100.7"],
    ["203.0.113.9, 198.51.100.7, 10.1.2.3", "198.51.100.7"],
    ["2001:db8::1, fd00::2", "2001:db8::1"],
    ["198.51.100.7, ::ffff:10.1.2.3", "198.51.100.7"],
    ["10.0.0.9, 10.0.0.8", "10.0.0.9"],
  ])("%j is from %s", (forwarded, client) => {
    expect(addressOf(proxies, "10.0.0.1", forwarded)).toBe(client);
  });

  test("is that of the socket when that is no proxy, whatever the header says", () => {
    expect(addressOf(proxies, "198.51.100.7", "203.0.113.9")).toBe("198.51.100.7");
    expect(addressOf(proxies, "192.0.2.2", "203.0.113.9")).toBe("192.0.2.2");
  });
});

describe("in the header", () => {
  test.each([
    ["198.51.100.7:5060", "198.51.100.7"],
    ["[2001:db8::1]:443", "2001:db8::1"],
    ["[2001:db8::1]", "2001:db8::1"],
    ["::ffff:198.51.100.7", "198.51.100.7"],
  ])("%j is the address %s", (forwarded, client) => {
    expect(addressOf("1", "10.0.0.1", forwarded)).toBe(client);
  });

  test.each(["unknown", "_hidden", "", "198.51.100", "198.51.100.7.", "a, ", "1.2.3.4 5.6.7.8"])(
    "%j is no address, so that of the proxy counts",
    (forwarded) => {
      expect(addressOf("1", "10.0.0.1", forwarded)).toBe("10.0.0.1");
    },
  );
});

test("a client is the user or API key that sends a request, else its address behind the proxies", () => {
  const clientOf = clientReader({ count: 1 });
  const request = {
    socket: { remoteAddress: "10.0.0.1" } as IncomingMessage["socket"],
    headers: { "x-forwarded-for": "2001:db8:1:2::1" },
  };
  expect([
    clientOf(request, { kind: "user", id: "ada", role: "user" }),
    clientOf(request, { kind: "api-key", id: "ada", scopes: [] }),
    clientOf(request, { kind: "anonymous" }),
  ]).toEqual(["user:ada", "api-key:ada", "2001:db8:1:2::/64"]);
});

describe("requests are counted", () => {
  test("by each IPv4 address", () => {
    expect(addressKey("192.0.2.1")).toBe("192.0.2.1");
  });

  test.each(["2001:db8:1:2::1", "2001:0db8:0001:0002:ffff:ffff:ffff:ffff", "2001:db8:1:2:0:0:192.0.2.1"])(
    "by the network of an IPv6 address such as %s",
    (address) => {
      expect(addressKey(address)).toBe("2001:db8:1:2::/64");
    },
  );

  test.each([
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["2001:db8::", "2001:db8:0:0::/64"],
  ])("%s by %s", (address, key) => {
    expect(addressKey(address)).toBe(key);
  });
});
