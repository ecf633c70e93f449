import type { IncomingMessage, ServerResponse } from "node:http";
import { appError, hasType } from "../../broker/errors.ts";
import { fingerprint } from "../../lib/canonical-json.ts";
import type { Config } from "../../lib/config.ts";
import type { ActionName } from "../../lib/contracts.ts";
import { actorOf, type Principal } from "../../lib/principal.ts";
import { RateLimiter } from "../../lib/rate-limiter.ts";
import type { RedisLink } from "../../lib/redis-link.ts";
import type { Quota, Verdict } from "../../lib/sliding-window.ts";
import { normaliseEmail } from "../users/users.contract.ts";
import { clientReader, type ClientReader } from "./client-address.ts";
import { ANONYMOUS } from "./guard.ts";

/** A quota under the name that clients see (draft-ietf-httpapi-ratelimit-headers: a quota policy). */
interface Policy {
  readonly name: string;
  readonly quota: Quota;
}

/** What of a request decides under which policy it is counted. */
interface Intent {
  readonly action: ActionName;
  readonly isRead: boolean;
  readonly principal: Principal;
}

/** A call that an action is asked for with. */
interface Guarded {
  readonly action: ActionName;
  readonly params: Readonly<Record<string, unknown>>;
  readonly principal: Principal;
}

/**
 * How many requests the gateway takes from whom. Requests are counted for the user or API key that sends them, and for
 * the address of those that send none.
 */
export class RateLimits {
  readonly #limiter: RateLimiter;
  readonly #clientOf: ClientReader;
  readonly #policies;

  constructor(config: Config, redis: RedisLink | undefined) {
    this.#limiter = new RateLimiter(redis);
    this.#clientOf = clientReader(config.TRUST_PROXY);
    this.#policies = {
      reads: { name: "reads", quota: config.RATE_LIMIT_READS },
      writes: { name: "writes", quota: config.RATE_LIMIT_WRITES },
      uploads: { name: "uploads", quota: config.RATE_LIMIT_UPLOADS },
      signUp: { name: "sign-up", quota: config.RATE_LIMIT_SIGN_UP },
      login: { name: "login", quota: config.RATE_LIMIT_LOGIN },
      wrongPasswords: { name: "wrong-passwords", quota: config.RATE_LIMIT_WRONG_PASSWORDS },
      wrongCredentials: { name: "wrong-credentials", quota: config.RATE_LIMIT_WRONG_CREDENTIALS },
    } satisfies Record<string, Policy>;
  }

  /**
   * Counts a request whose sender is known, and tells the client what is left.
   *
   * @throws RATE_LIMITED
   */
  admit(request: IncomingMessage, response: ServerResponse, intent: Intent): Promise<void> {
    const { principal } = intent;
    const policy = this.#policyFor(intent);
    // A token, which anybody gets who signs up, must not give its user more logins or sign-ups.
    const { login, signUp } = this.#policies;
    const isByAddress = policy === login || policy === signUp;
    return this.#count(response, policy, this.#clientOf(request, isByAddress ? ANONYMOUS : principal));
  }

  /**
   * Runs an action. One that checks a password is counted when that was wrong, for the account and not for the client:
   * guesses may come from many. It is counted before that is known, so that guesses at the same time do not all pass.
   *
   * @throws RATE_LIMITED, and what the action throws
   */
  guardPassword<Result>(
    response: ServerResponse,
    request: Guarded,
    run: () => Promise<Result>,
  ): Promise<Result> {
    const account = accountOf(request);
    return account === undefined ? run() : this.#guardAccount(account, response, run);
  }

  async #guardAccount<Result>(
    account: string,
    response: ServerResponse,
    run: () => Promise<Result>,
  ): Promise<Result> {
    const policy = this.#policies.wrongPasswords;
    // Names of accounts are addresses of people, which Redis has no need to know.
    const client = fingerprint(account);
    await this.#count(response, policy, client);
    let isWrong = false;
    try {
      return await run();
    } catch (error) {
      isWrong = hasType(error, "INVALID_CREDENTIALS");
      throw error;
    } finally {
      if (!isWrong) await this.#limiter.giveBack(keyOf(policy, client), policy.quota);
    }
  }

  /**
   * Counts a request whose token or API key was refused.
   *
   * @throws RATE_LIMITED
   */
  async countWrongCredentials(request: IncomingMessage, response: ServerResponse): Promise<void> {
    await this.#count(response, this.#policies.wrongCredentials, this.#clientOf(request, ANONYMOUS));
  }

  #policyFor({ action, isRead, principal }: Intent): Policy {
    // Both are hashed on the one thread of a node, which those who log in wait for.
    if (action === "auth.login" || action === "auth.changePassword") return this.#policies.login;
    if (action === "users.create" && !isTrustedWithUsers(principal)) return this.#policies.signUp;
    if (action === "images.create" || action === "images.startUpload") return this.#policies.uploads;
    return isRead ? this.#policies.reads : this.#policies.writes;
  }

  async #count(response: ServerResponse, policy: Policy, client: string): Promise<void> {
    const verdict = await this.#limiter.take(keyOf(policy, client), policy.quota);
    setHeaders(response, policy, verdict);
    if (verdict.isAllowed) return;
    const { limit, windowSeconds } = policy.quota;
    throw appError("RATE_LIMITED", {
      detail: `No more than ${limit} in ${windowSeconds} s are taken ('${policy.name}').`,
    });
  }
}

/** Admins and backends create users for others: they do not sign up. */
function isTrustedWithUsers(principal: Principal): boolean {
  return principal.kind === "user" ? principal.role === "admin" : principal.kind !== "anonymous";
}

/**
 * Whose password the action checks: for a login whatever the client names, whether or not there is such an account. In
 * the form in which users are found, or each other way to write an address would have guesses of its own.
 */
function accountOf({ action, params, principal }: Guarded): string | undefined {
  if (action === "auth.changePassword") return actorOf(principal);
  const { email } = params;
  if (action !== "auth.login" || typeof email !== "string") return undefined;
  return normaliseEmail(email);
}

function keyOf({ name }: Policy, client: string): string {
  return `rollcall:limit:${name}:${client}`;
}

/** The fields of draft-ietf-httpapi-ratelimit-headers; each is a list, to which a further policy is added. */
function setHeaders(
  response: ServerResponse,
  { name, quota }: Policy,
  { isAllowed, remaining, resetSeconds }: Verdict,
): void {
  response.appendHeader("RateLimit-Policy", `"${name}";q=${quota.limit};w=${quota.windowSeconds}`);
  response.appendHeader("RateLimit", `"${name}";r=${remaining};t=${resetSeconds}`);
  if (!isAllowed) response.setHeader("Retry-After", resetSeconds);
}
