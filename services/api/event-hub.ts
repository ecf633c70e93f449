import { LogTail, type TailEvent, type TailListener, type TailOptions } from "./log-tail.ts";

/** Whoever waits for events comes back for the next. For so long the end of the log is followed for them. */
const LINGER_MS = 10_000;

export interface HubOptions extends TailOptions {
  /** Only tests have others. */
  lingerMs?: number | undefined;
}

/** One tail of the log for all readers of a gateway, so that each event is fetched once. Without readers it rests. */
export class EventHub {
  readonly #options: HubOptions;
  readonly #listeners = new Set<TailListener>();
  #tail: LogTail | undefined;
  #leaving: NodeJS.Timeout | undefined;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  /** @returns how to stop listening */
  listen(listener: TailListener): () => void {
    clearTimeout(this.#leaving);
    this.#listeners.add(listener);
    this.#tail ??= new LogTail(this.#options, {
      advanced: () => this.#tell((each) => each.advanced()),
      lost: () => this.#tell((each) => each.lost()),
    });
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      clearTimeout(this.#leaving);
      this.#leaving = setTimeout(() => this.rest(), this.#options.lingerMs ?? LINGER_MS);
      this.#leaving.unref();
    };
  }

  /** Follows the log no more, until somebody listens again. */
  rest(): void {
    clearTimeout(this.#leaving);
    this.#tail?.stop();
    this.#tail = undefined;
  }

  /** The log is said to have grown up to `sequence`. */
  announce(sequence: number): void {
    this.#tail?.announce(sequence);
  }

  /** Whether it is at the end of the log. Listeners are told when it is. */
  get isReady(): boolean {
    return this.#tail?.isReady === true;
  }

  /** Up to where it has read. */
  get head(): number {
    return this.#tail?.head ?? 0;
  }

  /** The events after `position`; undefined when not all of them are at hand. */
  since(position: number): readonly TailEvent[] | undefined {
    return this.#tail?.since(position);
  }

  #tell(message: (listener: TailListener) => void): void {
    for (const listener of this.#listeners) message(listener);
  }
}
