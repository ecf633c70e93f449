import type { IncomingMessage } from "node:http";
import { isIP, isIPv4 } from "node:net";
import { actorOf, type Principal } from "../../lib/principal.ts";
import { blockListOf, type TrustedProxies } from "../../lib/rate-limit-settings.ts";

/** Names the client of a request, by whose principal that is. */
export type ClientReader = (origin: Origin, principal: Principal) => string;

/** What is known of a request's way to us: its socket and its headers. */
type Origin = Pick<IncomingMessage, "headers" | "socket">;

/**
 * Makes a function that says from which address a request comes: that of the nearest party which is no trusted proxy.
 * `X-Forwarded-For` is read from its right end, where the nearest proxy has added whom it was called by. What is left of
 * the first untrusted address is what that party claims, and means nothing. `Forwarded` (RFC 7239) is not read.
 */
export function clientAddressReader(proxies: TrustedProxies): (origin: Origin) => string {
  const isTrusted = trustIn(proxies);
  return ({ headers, socket }) => {
    let address = normalise(socket.remoteAddress ?? "");
    if (!isTrusted(address, 0)) return address;
    const forwarded = headers["x-forwarded-for"];
    const claimed = typeof forwarded === "string" ? forwarded.split(",") : [];
    for (let hops = 0; isTrusted(address, hops); hops += 1) {
      const next = normalise(withoutPort(claimed.pop()?.trim() ?? ""));
      // Else whoever is behind the proxy could have as many addresses as there are words.
      if (isIP(next) === 0) return address;
      address = next;
    }
    return address;
  };
}

/**
 * Makes a function that names the client of a request: the user or API key that sends it, else the address that it comes
 * from. What clients share is divided among these names.
 */
export function clientReader(proxies: TrustedProxies): ClientReader {
  const addressOf = clientAddressReader(proxies);
  return (origin, principal) =>
    principal.kind === "anonymous" ? addressKey(addressOf(origin)) : actorOf(principal);
}

/** @returns whether the party with this address, the number of hops away, is a proxy of ours */
function trustIn(proxies: TrustedProxies): (address: string, hops: number) => boolean {
  if ("count" in proxies) return (_address, hops) => hops < proxies.count;
  const networks = blockListOf(proxies.networks);
  return (address) => networks.check(address, isIPv4(address) ? "ipv4" : "ipv6");
}

/** Some proxies add the port: `192.0.2.1:5060`, `[2001:db8::1]:443`. */
function withoutPort(text: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([\d.]+))(?::\d+)?$/.exec(text) ?? [];
  return bracketed ?? plain ?? text;
}

/** IPv4 in its own notation, also where a socket for both families shows it as IPv6. */
function normalise(address: string): string {
  if (!address.includes(":")) return address;
  const groups = groupsOf(address);
  const isMapped =
    groups.length === 8 && groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (!isMapped) return address;
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 0xff])
    .join(".");
}

/**
 * Under which name requests from an address are counted: an IPv6 address under its network of 64 bits, since a
 * subscriber has all the addresses of one.
 */
export function addressKey(address: string): string {
  if (!address.includes(":")) return address;
  const network = groupsOf(address).slice(0, 4);
  return `${network.map((group) => group.toString(16)).join(":")}::/64`;
}

/** The eight 16-bit groups of an IPv6 address; none when it is not one. */
function groupsOf(address: string): number[] {
  const [bare = ""] = address.split("%");
  if (isIP(bare) !== 6) return [];
  const hexadecimal = bare.replace(/\d+\.\d+\.\d+\.\d+$/, (ipv4) => {
    const [a = 0, b = 0, c = 0, d = 0] = ipv4.split(".").map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head = "", tail] = hexadecimal.split("::");
  const read = (text: string) =>
    text
      .split(":")
      .filter(Boolean)
      .map((group) => Number.parseInt(group, 16));
  const [left, right] = [read(head), read(tail ?? "")];
  return [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
}
