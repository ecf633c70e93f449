import { createHmac, hash, type KeyObject } from "node:crypto";

/**
 * JSON text that is the same for equal values: object keys sorted, undefined members dropped (in the manner of
 * RFC 8785, without its number rules, since both sides are made by this runtime).
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map((item) => canonicalJson(item ?? null)).join(",")}]`;
  }
  if (typeof value === "object" && value !== null && !(value instanceof Date)) {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value) ?? "null";
}

/** SHA-256 of the canonical JSON of `value`, in base64url (43 characters). */
export function fingerprint(value: unknown): string {
  return hash("sha256", canonicalJson(value), "base64url");
}

/** As {@link fingerprint}, for values that may be guessed: only who has the key can try whether it is that of a value. */
export function keyedFingerprint(key: KeyObject, value: unknown): string {
  return createHmac("sha256", key).update(canonicalJson(value)).digest("base64url");
}
