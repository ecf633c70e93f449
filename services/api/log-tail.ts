import type { Logger } from "pino";
import type { CloudEvent } from "../../lib/cloud-event.ts";
import { Wakeup } from "../../lib/waiting.ts";
import { isPositionLost } from "../../mixins/list-events.ts";
import type { EventPage, ListEvents } from "../events/events.contract.ts";

/** An event at hand for every reader of this gateway. */
export interface TailEvent {
  readonly sequence: number;
  readonly event: CloudEvent;
  /** As a server-sent event: encoded once, however many streams it goes to. */
  readonly frame: Buffer;
}

/** Who reads on at the end of the log. */
export interface TailListener {
  /** There is more to read. */
  advanced(): void;
  /** Positions mean nothing any more: the log has expired up to here, or has lost its end. */
  lost(): void;
}

export interface TailOptions {
  /** Reads a page of the log, as `events.list`. */
  readPage: (query: Partial<ListEvents>) => Promise<EventPage>;
  log: Logger;
}

/** How many events are kept for readers that are a little behind, and how large they may be. Others read pages. */
const CAPACITY = 1000;
const CAPACITY_BYTES = 16 * 1024 * 1024;

const PAGE_SIZE = 1000;

/** Types of events after which the log has no more data of their subject. */
const ERASURE = /-erased_v\d+$/;

/** How often it looks by itself: announcements get lost while NATS is away. */
const POLL_INTERVAL_MS = 1000;

/** Follows the log from near its end until it is stopped. Keeps the last events. */
export class LogTail {
  readonly #options: TailOptions;
  readonly #listener: TailListener;
  readonly #wakeup = new Wakeup();
  readonly #stop = new AbortController();
  /** All events up to `#head`, as far back as they are kept. */
  #events: TailEvent[] = [];
  /** Of their frames. */
  #bytes = 0;
  /** Undefined until the log was looked at. */
  #head: number | undefined;
  #isReady = false;
  #isFailing = false;

  constructor(options: TailOptions, listener: TailListener) {
    this.#options = options;
    this.#listener = listener;
    void this.#run();
  }

  stop(): void {
    this.#stop.abort();
  }

  /** The log is said to have grown up to `sequence`. */
  announce(sequence: number): void {
    if (this.#head === undefined || sequence > this.#head) this.#wakeup.call();
  }

  /** Whether it has reached the end of the log once. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Up to where it has read. */
  get head(): number {
    return this.#head ?? 0;
  }

  /** The events after `position`; undefined when not all of them are at hand. */
  since(position: number): readonly TailEvent[] | undefined {
    if (!this.#isReady) return undefined;
    const index = position - (this.head - this.#events.length);
    return index < 0 ? undefined : this.#events.slice(index);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const isAtEnd = await this.#advance().catch((error: unknown) => this.#recover(error));
      if (isAtEnd) await this.#wakeup.wait(POLL_INTERVAL_MS, signal);
    }
  }

  /** Takes in the next page. Returns whether it was the last one. */
  async #advance(): Promise<boolean> {
    const { readPage } = this.#options;
    if (this.#head === undefined) {
      const { data, lastSequence } = await readPage({ limit: 1 });
      const first = data[0] ? Number(data[0].sequence) : lastSequence + 1;
      this.#head = Math.max(first - 1, lastSequence - CAPACITY);
    }
    const page = await readPage({ after: this.#head, limit: PAGE_SIZE });
    if (this.#stop.signal.aborted) return true;
    this.#isFailing = false;
    for (const event of page.data) this.#append(event);

    const isAtEnd = page.nextAfter === page.lastSequence;
    const isNews = page.data.length > 0 || !this.#isReady;
    this.#isReady ||= isAtEnd;
    if (this.#isReady && isNews) this.#listener.advanced();
    return isAtEnd;
  }

  #append(event: CloudEvent): void {
    const sequence = Number(event.sequence);
    if (sequence !== this.head + 1) throw new Error(`The log goes from ${this.head} to ${sequence}.`);
    this.#head = sequence;
    // What was kept about the resource must be gone too: who wants it reads the log, which has erased it.
    if (ERASURE.test(event.type)) this.#forget();
    const frame = toFrame(event);
    this.#events.push({ sequence, event, frame });
    this.#bytes += frame.length;
    while (this.#events.length > CAPACITY || this.#bytes > CAPACITY_BYTES)
      this.#bytes -= this.#events.shift()?.frame.length ?? this.#bytes;
  }

  #forget(): void {
    this.#events = [];
    this.#bytes = 0;
  }

  /** Returns true, so that it is tried again after a pause. */
  #recover(error: unknown): true {
    if (this.#stop.signal.aborted) return true;
    if (isPositionLost(error)) {
      this.#forget();
      this.#head = undefined;
      this.#isReady = false;
      this.#listener.lost();
    }
    if (!this.#isFailing) this.#options.log.warn({ err: error }, "the event log cannot be followed");
    this.#isFailing = true;
    return true;
  }
}

/** An event in the format of server-sent events. Its JSON has no line break. */
export function toFrame(event: CloudEvent): Buffer {
  return Buffer.from(
    `id: ${Number(event.sequence)}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
  );
}
