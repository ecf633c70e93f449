/*
 * Counting by sliding windows. Requests are counted in windows of one length, the first of which begins with the first
 * request; of the window before the current one, that part counts which a window that ends now would still cover. A
 * client that was idle has the whole limit at once, and cannot use it twice around the edge of a window, as it could
 * with fixed ones.
 */

/** How many requests a client may make. */
export interface Quota {
  readonly limit: number;
  readonly windowSeconds: number;
}

/** What a client has made of its quota. Times are in milliseconds of one clock. */
export interface SlidingWindow {
  /** Of the current window. */
  readonly startedAt: number;
  readonly current: number;
  readonly previous: number;
}

/** Whether a request is within its quota, and what is left of that. */
export interface Verdict {
  readonly isAllowed: boolean;
  readonly remaining: number;
  /** Seconds until the current window ends or, for a request that is not allowed, until one is. Whole, at least 1. */
  readonly resetSeconds: number;
}

/** The window as it is at `now`, before a further request. Without one, a new one begins. */
export function windowAt(
  window: SlidingWindow | undefined,
  { windowSeconds }: Quota,
  now: number,
): SlidingWindow {
  const lengthMs = windowSeconds * 1000;
  const elapsedMs = window ? now - window.startedAt : Infinity;
  if (!window || elapsedMs >= 2 * lengthMs) return { startedAt: now, current: 0, previous: 0 };
  if (elapsedMs < lengthMs) return window;
  return { startedAt: window.startedAt + lengthMs, current: 0, previous: window.current };
}

/**
 * Counts a request, if it is allowed.
 *
 * @param cost negative to give back what was counted before
 */
export function take(
  window: SlidingWindow,
  quota: Quota,
  now: number,
  cost: number,
): { isAllowed: boolean; window: SlidingWindow } {
  const isAllowed = usedOf(window, quota, now) + cost <= quota.limit;
  if (!isAllowed) return { isAllowed, window };
  return { isAllowed, window: { ...window, current: Math.max(0, window.current + cost) } };
}

/** @param window after the request was counted or refused */
export function verdictOf(isAllowed: boolean, window: SlidingWindow, quota: Quota, now: number): Verdict {
  const remaining = Math.max(0, Math.floor(quota.limit - usedOf(window, quota, now)));
  const resetMs = isAllowed ? windowEndOf(window, quota) - now : waitMsOf(window, quota, now);
  return { isAllowed, remaining, resetSeconds: Math.max(1, Math.ceil(resetMs / 1000)) };
}

function usedOf({ startedAt, current, previous }: SlidingWindow, { windowSeconds }: Quota, now: number) {
  const share = 1 - Math.max(0, now - startedAt) / (windowSeconds * 1000);
  return current + previous * share;
}

function windowEndOf({ startedAt }: SlidingWindow, { windowSeconds }: Quota): number {
  return startedAt + windowSeconds * 1000;
}

/** How long it takes until one more request is allowed, if none is made until then. */
function waitMsOf(window: SlidingWindow, quota: Quota, now: number): number {
  const { limit, windowSeconds } = quota;
  const { current, previous } = window;
  // The share of the earlier window that leaves room for one more falls linearly from 1 to 0 within a window.
  const fallsTo = (count: number, room: number) => windowSeconds * 1000 * Math.max(0, 1 - room / count);
  const roomAt =
    current < limit
      ? window.startedAt + fallsTo(previous, limit - 1 - current)
      : windowEndOf(window, quota) + fallsTo(current, limit - 1);
  // One more for what clocks and fractions round away.
  return roomAt - now + 1;
}
