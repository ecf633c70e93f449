import { randomBytes, timingSafeEqual } from "node:crypto";
import { Worker } from "node:worker_threads";
import { appError } from "../../broker/errors.ts";
import { CURRENT_PARAMETERS, formatPhc, parsePhc } from "./password-hash.ts";
import type { HashJob } from "./password-worker.ts";

const SALT_BYTES = 16;
const HASH_BYTES = 32;

/** Those who wait longest wait for about a second; who comes when so many wait is refused. */
const MAX_WAITING = 32;

/** After this time the caller has given up, or is about to. */
const MAX_WAIT_MS = 2500;

interface Waiting {
  job: HashJob;
  since: number;
  resolve(hash: Buffer): void;
  reject(error: Error): void;
}

/**
 * Makes and checks password hashes, one at a time on a thread of low priority: logins must not take the machine from
 * those who are logged in.
 */
export class PasswordHasher {
  /** How many hashes were begun. Every login costs exactly one, whatever is wrong with it. */
  hashCount = 0;
  #waiting: Waiting[] = [];
  #current: Waiting | undefined;
  #worker: Worker | undefined;
  #isStopped = false;

  /** The PHC string of a password. @throws OVERLOADED */
  async hash(password: string): Promise<string> {
    const salt = randomBytes(SALT_BYTES);
    const parameters = CURRENT_PARAMETERS;
    const hash = await this.#run({ password: normalise(password), salt, parameters, hashBytes: HASH_BYTES });
    return formatPhc({ parameters, salt, hash });
  }

  /**
   * Whether a PHC string was made of this password. Without one the answer is no, at the same cost.
   *
   * @throws OVERLOADED
   */
  async verify(password: string, phc: string | undefined): Promise<boolean> {
    const { parameters, salt, hash } = phc === undefined ? NOBODY : parsePhc(phc);
    const found = await this.#run({
      password: normalise(password),
      salt,
      parameters,
      hashBytes: hash.length,
    });
    return timingSafeEqual(found, hash) && phc !== undefined;
  }

  /** Ends the thread; what is under way fails. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#worker?.terminate();
  }

  #run(job: HashJob): Promise<Buffer> {
    if (this.#isStopped || this.#waiting.length >= MAX_WAITING) return Promise.reject(tooManyLogins());
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.#waiting.push({ job, since: performance.now(), resolve, reject });
    this.#next();
    return promise;
  }

  #next(): void {
    if (this.#current) return;
    const next = this.#waiting.shift();
    if (!next) return;
    if (performance.now() - next.since > MAX_WAIT_MS) {
      next.reject(tooManyLogins());
      this.#next();
      return;
    }
    this.#current = next;
    this.hashCount += 1;
    this.#worker ??= this.#startWorker();
    this.#worker.postMessage(next.job);
  }

  #startWorker(): Worker {
    const worker = new Worker(new URL("password-worker.ts", import.meta.url));
    worker.on("message", (hash: Uint8Array) => {
      this.#current?.resolve(Buffer.from(hash));
      this.#current = undefined;
      this.#next();
    });
    // Without a listener an error of the thread would end the process.
    worker.on("error", (error) => this.#current?.reject(error as Error));
    worker.on("exit", () => {
      this.#worker = undefined;
      this.#current?.reject(tooManyLogins());
      this.#current = undefined;
      if (this.#isStopped) for (const waiting of this.#waiting.splice(0)) waiting.reject(tooManyLogins());
      else this.#next();
    });
    return worker;
  }
}

/** What a password is compared with when there is no user: no password has this hash. */
const NOBODY = {
  parameters: CURRENT_PARAMETERS,
  salt: randomBytes(SALT_BYTES),
  hash: randomBytes(HASH_BYTES),
};

/** Keyboards differ in how they compose a letter (NIST SP 800-63B, 3.1.1.2). */
function normalise(password: string): string {
  return password.normalize("NFKC");
}

const tooManyLogins = () =>
  appError("OVERLOADED", { detail: "Too many passwords are being checked at the same time." });
