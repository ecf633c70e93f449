import { namespaceOf } from "./cache-key.ts";
import type { Invalidation } from "./messages.ts";

/** Beyond it, others are told of whole namespaces instead. */
const MAX_MESSAGES = 10_000;

/** What this node has said and others may not have heard, in order. */
export class Unconfirmed {
  /** By position. */
  readonly #messages = new Map<number, Invalidation>();
  #last = 0;

  /** The position of what was said last. */
  get last(): number {
    return this.#last;
  }

  get messages(): readonly Invalidation[] {
    return [...this.#messages.values()];
  }

  add(message: Invalidation): void {
    this.#messages.set(++this.#last, message);
    if (this.#messages.size > MAX_MESSAGES) this.#shorten();
  }

  /** Forgets what was said until then. */
  confirm(last: number): void {
    for (const position of this.#messages.keys()) {
      if (position > last) return;
      this.#messages.delete(position);
    }
  }

  #shorten(): void {
    const ofWhole = new Map<string, Invalidation>();
    for (const message of this.#messages.values()) {
      const { node, key = "", namespace = namespaceOf(key) } = message;
      const isUnsettled = message.isUnsettled === true || ofWhole.get(namespace)?.isUnsettled === true;
      ofWhole.set(namespace, { node, namespace, isUnsettled });
    }
    this.#messages.clear();
    for (const message of ofWhole.values()) this.#messages.set(++this.#last, message);
  }
}
