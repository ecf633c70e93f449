import { fingerprint } from "../../lib/canonical-json.ts";

const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/;

/**
 * The key of a cached call. Equal parameters give equal keys, others never do: SHA-256 of canonical JSON or, of a call
 * that says an id and nothing else, the id, which is shorter than any hash and costs none.
 */
export function cacheKey(action: string, params: unknown): string {
  return `${action}:${soleIdOf(params) ?? fingerprint(params)}`;
}

/** The namespace of a key: the action whose answers are kept under it. Keys of other origin have none. */
export function namespaceOf(key: string): string {
  const end = key.indexOf(":");
  return end === -1 ? "" : key.slice(0, end);
}

function soleIdOf(params: unknown): string | undefined {
  if (typeof params !== "object" || params === null) return undefined;
  const { id } = params as { id?: unknown };
  if (typeof id !== "string" || !UUID.test(id)) return undefined;
  for (const name in params) {
    // A member that is undefined is none.
    if (name !== "id" && (params as Record<string, unknown>)[name] !== undefined) return undefined;
  }
  return id;
}
