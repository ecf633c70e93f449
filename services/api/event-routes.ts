import { API_PREFIX, type RestRoute } from "./rest-route.ts";

/** The event log, page by page and as a stream. */
export const EVENT_ROUTES: readonly RestRoute[] = [
  { method: "GET", path: `${API_PREFIX}/events`, action: "events.list", status: 200, answer: "feed" },
  {
    method: "GET",
    path: `${API_PREFIX}/events/stream`,
    action: "events.list",
    status: 200,
    answer: "stream",
  },
];
