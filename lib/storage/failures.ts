import { Readable } from "node:stream";
import { ERROR_CATALOGUE } from "../error-catalogue.ts";

/** Work with a storage. The signal tells it that nobody waits for it any more; what it says by `progress` gives it time. */
export type Work<T> = (signal: AbortSignal, progress: () => void) => Promise<T>;

/**
 * Runs work until it ends, or until `timeoutMs` have passed since its start and since it last said `progress`.
 *
 * @param onFailure is told why it has failed
 * @throws STORAGE_UNAVAILABLE when it fails or takes too long, whatever becomes of it then
 */
export async function availableInTime<T>(
  timeoutMs: number,
  work: Work<T>,
  onFailure: (error: unknown) => void = () => undefined,
): Promise<T> {
  const controller = new AbortController();
  const stalled = Promise.withResolvers<never>();
  const expire = (): void => {
    const reason = new Error(`nothing has happened for ${timeoutMs} ms`);
    stalled.reject(reason);
    controller.abort(reason);
  };
  const timer = new IdleTimer(timeoutMs, expire);
  timer.restart();
  try {
    return await Promise.race([work(controller.signal, () => timer.restart()), stalled.promise]);
  } catch (error) {
    onFailure(error);
    throw storageUnavailable(error);
  } finally {
    timer.stop();
  }
}

/** Calls back when it has run for a time without a restart. To restart it costs little: it is one timer throughout. */
class IdleTimer {
  readonly #timer: NodeJS.Timeout;
  #isRunning = false;
  #turn: NodeJS.Immediate | undefined;

  /** It does not run yet. */
  constructor(ms: number, expire: () => void) {
    this.#timer = setTimeout(() => {
      // After the sockets were read once more: on a busy event loop the answer may have been there in time.
      if (this.#isRunning) this.#turn = setImmediate(expire);
    }, ms);
  }

  restart(): void {
    this.pause();
    this.#isRunning = true;
    this.#timer.refresh();
  }

  pause(): void {
    this.#isRunning = false;
    clearImmediate(this.#turn);
  }

  /** For good. */
  stop(): void {
    this.pause();
    clearTimeout(this.#timer);
  }
}

/** A STORAGE_UNAVAILABLE error, made without the framework but with all that it looks at. */
export function storageUnavailable(cause: unknown): Error {
  const { status, title, retryable } = ERROR_CATALOGUE.STORAGE_UNAVAILABLE;
  return Object.assign(new Error(title, { cause }), {
    type: "STORAGE_UNAVAILABLE",
    code: status,
    data: {},
    retryable,
  });
}

/**
 * The bytes of `source`, as long as they come: after `timeoutMs` without any it fails with STORAGE_UNAVAILABLE, as when
 * the source fails. A reader may take as long as it likes.
 */
export function watchedStream(source: Readable, timeoutMs: number): Readable {
  const fail = (cause: unknown): void => void stream.destroy(storageUnavailable(cause));
  const timer = new IdleTimer(timeoutMs, () => fail(new Error(`no bytes have come for ${timeoutMs} ms`)));
  const stream = new Readable({
    // What is read ahead is held by the source already.
    highWaterMark: 0,
    read() {
      timer.restart();
      source.resume();
    },
    destroy(error, done) {
      timer.stop();
      source.destroy();
      done(error);
    },
  });
  source
    .on("data", (chunk: Buffer) => {
      timer.pause();
      // When there is room again, `read` is called again.
      if (!stream.push(chunk)) source.pause();
    })
    .on("end", () => {
      timer.stop();
      stream.push(null);
    })
    .on("error", fail)
    .on("close", () => {
      if (!source.readableEnded && !stream.destroyed) fail(new Error("the bytes ended too early"));
    });
  return stream;
}
