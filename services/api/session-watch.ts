import type { ServiceBroker } from "moleculer";
import type { Logger } from "pino";
import { appError } from "../../broker/errors.ts";
import { Awaited } from "../../lib/awaited.ts";
import { call } from "../../lib/contracts.ts";
import { ACCESS_TOKEN_TTL_SECONDS } from "../auth/auth.contract.ts";

/** With the time of an answer, what ends is known within a second, also when its event is lost. */
const INTERVAL_MS = 500;
const TIMEOUT_MS = 1000;

/** By then the last access token of a session has expired by any clock that is not far off. */
const REMEMBER_MS = (ACCESS_TOKEN_TTL_SECONDS + 60) * 1000;

interface WatchParts {
  broker: ServiceBroker;
  log: Logger;
  /** Is told which signing keys are valid now. */
  onKeyIds(keyIds: readonly string[]): Promise<void>;
}

/**
 * Knows the sessions that have ended while access tokens of them are still valid: it is told by an event, and asks the
 * auth service for those whose events got lost.
 */
export class SessionWatch {
  readonly #parts: WatchParts;
  readonly #awaited: Awaited;
  /** When to forget each; in the order of that. */
  readonly #ended = new Map<string, number>();
  #since: string | undefined;
  #asking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.#awaited = new Awaited(parts.log, {
      waiting: "waiting for the auth service",
      missing: "ended sessions are not known",
      back: "ended sessions are known again",
    });
  }

  /** Whether what had ended before this was started is known. */
  get areKnown(): boolean {
    return this.#since !== undefined;
  }

  hasEnded(sessionId: string): boolean {
    return this.#ended.has(sessionId);
  }

  end(sessionIds: readonly string[]): void {
    const forgetAt = performance.now() + REMEMBER_MS;
    for (const id of sessionIds) {
      this.#ended.delete(id);
      this.#ended.set(id, forgetAt);
    }
  }

  /** Asks now and then, until it is stopped. */
  async start(): Promise<void> {
    try {
      await this.#ask();
      this.#awaited.there();
    } catch (error) {
      if (!this.#isStopped) this.#awaited.missing(error);
    }
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.start(), INTERVAL_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** Settles when what had ended before is known. @throws SERVICE_UNAVAILABLE and the like */
  async untilKnown(): Promise<void> {
    if (!this.areKnown) await this.#ask();
  }

  #ask(): Promise<void> {
    this.#asking ??= this.#askOnce().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #askOnce(): Promise<void> {
    const { broker } = this.#parts;
    // Looked up first: the broker logs every call of an action that is nowhere.
    if (!broker.registry.actions.isAvailable("auth.revocations")) throw appError("SERVICE_UNAVAILABLE");
    const params = this.#since === undefined ? {} : { since: this.#since };
    const options = { timeout: TIMEOUT_MS, retries: 0 };
    const { sessionIds, until, keyIds } = await call(broker, "auth.revocations", params, options);
    this.end(sessionIds);
    await this.#parts.onKeyIds(keyIds);
    this.#since = until;
    this.#forget();
  }

  #forget(): void {
    const now = performance.now();
    for (const [id, forgetAt] of this.#ended) {
      if (forgetAt > now) return;
      this.#ended.delete(id);
    }
  }
}
