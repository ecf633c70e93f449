import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";

/**
 * A key of 32 bytes for one purpose (HKDF, RFC 5869).
 *
 * @param secret the node's SECRET, or something else with at least 128 bits of chance
 * @param purpose what is signed or sealed with it; another purpose has another key
 */
export function derivedKey(secret: string, purpose: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", secret, "", `rollcall ${purpose}`, 32)));
}
