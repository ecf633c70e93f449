/**
 * How long the memory level may be used without news of the channel: so old can be what a node answers that was cut off
 * from the others. A channel is asked more often than that.
 */
export const LEASE_MS = 2000;
export const BEAT_INTERVAL_MS = 500;

/** The time for which a channel has passed on everything that the other nodes said, in order. */
export interface Span {
  /** Since when it has not been interrupted; Infinity while it is. */
  from: number;
  /** Everything that was said until then has arrived. */
  until: number;
}

/**
 * Knows whether the memory level has heard of every change. One channel without interruption is enough; when there is a
 * time that none has covered, something may have been missed, and everything in memory is dropped before it is used
 * again. Times are of `performance.now()`.
 */
export class Coverage {
  readonly #channels: Span[] = [];
  readonly #onGap: () => void;
  #until = -Infinity;

  /** @param onGap drops the memory level */
  constructor(onGap: () => void) {
    this.#onGap = onGap;
  }

  /** Adds a channel; without one, this is the only node. */
  add(channel: Span): void {
    this.#channels.push(channel);
  }

  /** Whether the memory level may be used. */
  get isCurrent(): boolean {
    return this.#channels.length === 0 || performance.now() - this.#until <= LEASE_MS;
  }

  /** To be called when a channel has news of itself. */
  update(): void {
    for (const { from, until } of this.#channels) {
      if (from <= this.#until) this.#until = Math.max(this.#until, until);
    }
    if (this.isCurrent) return;
    const untilOf = ({ from, until }: Span): number => (from <= until ? until : -Infinity);
    const latest = Math.max(...this.#channels.map(untilOf));
    if (performance.now() - latest > LEASE_MS) return;
    this.#onGap();
    this.#until = latest;
  }
}
