/**
 * Word that a resource has events up to this number. It says where and when there is something to do; what, and in
 * which order, is read from the log. So a source may repeat itself, and may mix up the order.
 */
export interface Notice {
  /** Id of the resource. */
  subject: string;
  /** Position in the log. */
  sequence: number;
  /** It was given out before, perhaps to a process that died of it. */
  isRepeated: boolean;
}

/** What became of a notice. */
export interface Verdict {
  isDone: boolean;
  /** When it is not done: after this time it is to be given out again, by this or another instance. */
  retryInMs: number;
}

export const DONE: Verdict = { isDone: true, retryInMs: 0 };

/** Where a durable consumer hears of events. One notice at least comes for each event, whatever fails. */
export interface EventSource {
  /**
   * Begins to give out notices, many at a time.
   *
   * @param handle settles a notice; it never rejects
   */
  start(handle: (notice: Notice) => Promise<Verdict>): void;
  /** There may be news; a source that hears of them by itself does nothing. */
  wake(): void;
  /** Gives out no more, and waits until what is under way is settled. */
  stop(): Promise<void>;
  /** How many events wait to be handled. */
  lag(): Promise<number>;
}
