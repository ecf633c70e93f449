import { API_PREFIX, JSON_BODY, type RestRoute } from "./rest-route.ts";

const BASE = `${API_PREFIX}/cache`;

/** The caches of all nodes, for operators. */
export const CACHE_ROUTES: readonly RestRoute[] = [
  {
    method: "GET",
    path: `${BASE}/stats`,
    action: "cache.stats",
    status: 200,
    representation: { kind: "plain", xmlRoot: "cacheStats" },
    cacheControl: "no-store",
  },
  { method: "DELETE", path: BASE, action: "cache.purge", status: 204, takesQuery: true },
  {
    method: "POST",
    path: `${BASE}/warm`,
    action: "cache.warm",
    status: 200,
    representation: { kind: "plain", xmlRoot: "warmed" },
    consumes: JSON_BODY,
    isBodyOptional: true,
  },
];
