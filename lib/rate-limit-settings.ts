import { BlockList, isIP } from "node:net";
import { z } from "zod";
import type { Quota } from "./sliding-window.ts";

/*
 * How the settings of rate limits are written: quotas as `100/60s`, trusted proxies as their number or their networks.
 */

const SECONDS_PER_UNIT: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };
const DAY_SECONDS = 86_400;
const QUOTA = /^([1-9]\d{0,8})\/([1-9]\d{0,4})([smh])$/;

/** Requests per time: `100/60s`, `10/15m`, `1000/1h`. */
export const quota = z
  .string()
  .regex(QUOTA, "must be a number of requests per time, such as 100/60s, 10/15m or 1000/1h")
  .transform((text): Quota => {
    const [, limit, count, unit = ""] = QUOTA.exec(text) ?? [];
    return { limit: Number(limit), windowSeconds: Number(count) * (SECONDS_PER_UNIT[unit] ?? NaN) };
  })
  .refine(({ windowSeconds }) => windowSeconds <= DAY_SECONDS, "must not be per more than 24h");

/** The proxies whose `X-Forwarded-For` is believed: so many nearest ones, or those with such an address. */
export type TrustedProxies = { readonly count: number } | { readonly networks: readonly string[] };

/** A number of proxies, or addresses and networks (CIDR) separated by commas. */
export const trustedProxies = z
  .string()
  .transform((text): TrustedProxies => {
    if (/^\d{1,2}$/.test(text)) return { count: Number(text) };
    return { networks: text.split(",").map((network) => network.trim()) };
  })
  .refine(
    (proxies) => !("networks" in proxies) || proxies.networks.every(isNetwork),
    "must be a number of proxies, or addresses and networks such as 10.0.0.0/8, fd00::/8",
  );

function isNetwork(text: string): boolean {
  const { address, prefix } = networkOf(text);
  return isIP(address) !== 0 && Number.isInteger(prefix) && prefix >= 0 && prefix <= bitsOf(address);
}

/** @param networks that {@link trustedProxies} has accepted */
export function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const { address, prefix } = networkOf(network);
    list.addSubnet(address, prefix, bitsOf(address) === 32 ? "ipv4" : "ipv6");
  }
  return list;
}

function networkOf(text: string): { address: string; prefix: number } {
  const [address = "", prefix, ...rest] = text.split("/");
  if (prefix === undefined) return { address, prefix: bitsOf(address) };
  return { address, prefix: /^\d{1,3}$/.test(prefix) && rest.length === 0 ? Number(prefix) : NaN };
}

function bitsOf(address: string): 32 | 128 {
  return isIP(address) === 4 ? 32 : 128;
}
