import { fingerprint } from "../../lib/canonical-json.ts";

/** The key of a cached call. Equal parameters give equal keys, others never do (SHA-256 of canonical JSON). */
export function cacheKey(action: string, params: unknown): string {
  return `${action}:${fingerprint(params)}`;
}

/** The namespace of a key: the action whose answers are kept under it. Keys of other origin have none. */
export function namespaceOf(key: string): string {
  const end = key.indexOf(":");
  return end === -1 ? "" : key.slice(0, end);
}
