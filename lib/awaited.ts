import type { Logger } from "pino";

/** While nodes start, what one needs of another is not there yet: only what takes longer is worth a warning. */
const PATIENCE_MS = 10_000;

/** What the log says. */
interface Lines {
  waiting: string;
  missing: string;
  back: string;
}

/**
 * Tells the log, once and not in every attempt, that something is missing which is tried again: at first that it is
 * waited for; with a warning when that lasts, or when it was there before.
 */
export class Awaited {
  readonly #log: Logger;
  readonly #lines: Lines;
  #missingSince: number | undefined;
  #hasWarned = false;
  #wasThere = false;

  constructor(log: Logger, lines: Lines) {
    this.#log = log;
    this.#lines = lines;
  }

  /**
   * An attempt has failed.
   *
   * @param isDue false while it cannot be there yet, for which there is no warning
   */
  missing(error: unknown, isDue = true): void {
    const now = performance.now();
    const isFirst = this.#missingSince === undefined;
    this.#missingSince = isDue ? (this.#missingSince ?? now) : now;
    if (this.#wasThere || now - this.#missingSince >= PATIENCE_MS) {
      if (!this.#hasWarned) this.#log.warn({ err: error }, this.#lines.missing);
      this.#hasWarned = true;
    } else if (isFirst) {
      this.#log.info({ reason: (error as Error).message }, this.#lines.waiting);
    }
  }

  /** An attempt has succeeded. */
  there(): void {
    if (this.#hasWarned) this.#log.info(this.#lines.back);
    this.#missingSince = undefined;
    this.#hasWarned = false;
    this.#wasThere = true;
  }
}
