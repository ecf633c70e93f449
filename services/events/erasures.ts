import type { Logger } from "pino";
import { Awaited } from "../../lib/awaited.ts";
import { definitionOf } from "../../lib/cloud-event.ts";
import { Slots } from "../../lib/slots.ts";
import { retry } from "../../lib/waiting.ts";
import type { EventStream } from "./event-stream.ts";
import type { UnpublishedEvent } from "./events.repository.ts";

/** Subjects whose messages are deleted at the same time: the stream has other things to do. */
const CONCURRENCY = 8;

const RETRY_MS = 1000;

interface ErasuresOptions {
  stream: EventStream;
  log: Logger;
}

/**
 * Deletes from the stream what it has of subjects that were erased, behind the publisher: thousands of messages take
 * seconds.
 */
export class Erasures {
  readonly #options: ErasuresOptions;
  readonly #slots = new Slots(CONCURRENCY);
  /** Those that are not done, each with the number of its event. */
  readonly #pending = new Map<Promise<void>, number>();
  readonly #awaited: Awaited;

  constructor(options: ErasuresOptions) {
    this.#options = options;
    this.#awaited = new Awaited(options.log, {
      waiting: "waiting for the stream, to delete what was erased",
      missing: "what was erased cannot be deleted from the stream; it is tried again",
      back: "what was erased is deleted from the stream again",
    });
  }

  /** Number of the first event whose erasure is not done; infinity when there is none. */
  get first(): number {
    let first = Infinity;
    for (const sequence of this.#pending.values()) first = Math.min(first, sequence);
    return first;
  }

  /** Begins an erasure if that is what an event is about, which the stream has at this position. */
  begin({ type, subject, sequence }: UnpublishedEvent, position: number, until: AbortSignal): void {
    if (definitionOf(type)?.isErasure !== true) return;
    const erasure = this.#slots.run(() => this.#erase(subject, position, until));
    this.#pending.set(erasure, sequence);
    void erasure.finally(() => {
      // One that was interrupted stays: its event is published again, by whoever leads then.
      if (!until.aborted) this.#pending.delete(erasure);
    });
  }

  /** When all are done or interrupted. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending.keys());
  }

  async #erase(subject: string, position: number, until: AbortSignal): Promise<void> {
    const erase = async (): Promise<void> => {
      await this.#options.stream.forget(subject, position, until);
      this.#awaited.there();
    };
    const onError = (error: Error): void => {
      if (!until.aborted) this.#awaited.missing(error);
    };
    await retry(erase, { waitMs: RETRY_MS, until, onError });
  }
}
