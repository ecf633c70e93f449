/** Events between the caches of the nodes. */
export interface CacheEvents {
  /** These entries are stale; sent when each node has a memory cache of its own. */
  "cache-invalidated": { keys: string[] };
}
