import { createHash } from "node:crypto";
import { decodeJwt, errors } from "jose";
import { LRUCache } from "lru-cache";
import type { ServiceBroker } from "moleculer";
import type { Logger } from "pino";
import { appError, isAppError } from "../../broker/errors.ts";
import { call } from "../../lib/contracts.ts";
import type { Principal } from "../../lib/principal.ts";
import type { ApiKeyGrant } from "../auth/auth.contract.ts";
import { ExternalTokens, type ExternalIssuer, type ExternalToken } from "./external-tokens.ts";
import { OwnTokens, type VerifiedToken } from "./own-tokens.ts";
import { SessionWatch } from "./session-watch.ts";

/** Longer than any sensible token; what is longer is not looked at. */
const MAX_TOKEN_LENGTH = 8192;

/** Characters of the tokens that are kept once they were verified: some ten thousand. */
const MAX_CACHED_LENGTH = 8 * 1024 * 1024;

/** How long it may take until a revoked API key is refused. */
const API_KEY_TTL_MS = 1000;
const MAX_API_KEYS = 10_000;
const API_KEY = /^rk_[0-9a-f]{12}_[\w-]{1,100}$/;

type Verified = ({ issuer: "own" } & VerifiedToken) | ({ issuer: "external" } & ExternalToken);

interface VerifierParts {
  broker: ServiceBroker;
  log: Logger;
  external?: ExternalIssuer | undefined;
}

/**
 * Finds out whose an access token or an API key is. Tokens are verified here, without asking anybody, and kept until
 * they expire; a session that ends is no longer accepted within a second, an API key neither.
 */
export class TokenVerifier {
  readonly #own: OwnTokens;
  readonly #external: ExternalTokens | undefined;
  readonly #sessions: SessionWatch;
  readonly #verified = new LRUCache<string, Verified>({
    maxSize: MAX_CACHED_LENGTH,
    sizeCalculation: (_verified, token) => token.length,
  });
  readonly #grants: LRUCache<string, { grant: ApiKeyGrant | null }, { key: string }>;

  constructor({ broker, log, external }: VerifierParts) {
    this.#own = new OwnTokens(broker);
    this.#external = external && new ExternalTokens(external, broker);
    this.#sessions = new SessionWatch({ broker, log, onKeyIds: (keyIds) => this.#followKeys(keyIds) });
    this.#grants = new LRUCache({
      max: MAX_API_KEYS,
      ttl: API_KEY_TTL_MS,
      ttlResolution: 0,
      // That there is no such key is kept too.
      fetchMethod: async (_hash, _stale, { context: { key } }) => ({
        grant: await call(broker, "auth.checkApiKey", { key }),
      }),
    });
  }

  /** Whether keys and ended sessions have been known once. */
  get isReady(): boolean {
    return this.#sessions.areKnown;
  }

  /** Settles after a first look at keys and ended sessions; where that fails, it is tried again when it is needed. */
  start(): Promise<void> {
    return this.#sessions.start();
  }

  stop(): void {
    this.#sessions.stop();
  }

  /** For the event that says so. */
  endSessions(sessionIds: readonly string[]): void {
    this.#sessions.end(sessionIds);
  }

  /** Whose a token of ours is that was verified before and has neither expired nor been revoked since. */
  principalOf(token: string): Principal | undefined {
    const verified = this.#cached(token);
    if (verified?.issuer !== "own" || this.#sessions.hasEnded(verified.principal.sessionId)) return undefined;
    return verified.principal;
  }

  /** @throws INVALID_TOKEN, ACCOUNT_SUSPENDED, SERVICE_UNAVAILABLE while it cannot be known */
  async verifyToken(token: string): Promise<Principal> {
    const verified = this.#cached(token) ?? (await this.#verify(token));
    if (verified.issuer === "external") return this.#externalPrincipalOf(verified);
    if (this.#sessions.hasEnded(verified.principal.sessionId)) throw appError("INVALID_TOKEN");
    return verified.principal;
  }

  /** @throws INVALID_TOKEN, SERVICE_UNAVAILABLE while it cannot be known */
  async verifyApiKey(key: string): Promise<Principal> {
    if (!API_KEY.test(key)) throw appError("INVALID_TOKEN");
    // Not the key itself: what is in memory for long may end up in a dump of it.
    const hash = createHash("sha256").update(key).digest("base64");
    const found = await this.#grants.fetch(hash, { context: { key } });
    if (!found?.grant) throw appError("INVALID_TOKEN");
    return { kind: "api-key", ...found.grant };
  }

  #cached(token: string): Verified | undefined {
    const verified = this.#verified.get(token);
    if (!verified || verified.expiresAtMs > Date.now()) return verified;
    this.#verified.delete(token);
    return undefined;
  }

  async #verify(token: string): Promise<Verified> {
    if (token.length > MAX_TOKEN_LENGTH) throw appError("INVALID_TOKEN");
    try {
      await this.#sessions.untilKnown();
      const { keyIds } = this.#own;
      const verified = await this.#verifyByIssuer(token);
      // The keys may have changed meanwhile, and the key of this token be gone.
      if (this.#own.has(keyIds)) this.#verified.set(token, verified);
      return verified;
    } catch (error) {
      if (isAppError(error)) throw error;
      throw isOfToken(error) ? appError("INVALID_TOKEN") : appError("SERVICE_UNAVAILABLE", {}, error);
    }
  }

  /** Who claims to be of the external issuer is verified with the keys of that one and no others. */
  async #verifyByIssuer(token: string): Promise<Verified> {
    const { iss } = decodeJwt(token);
    if (this.#external && iss === this.#external.issuer) {
      return { issuer: "external", ...(await this.#external.verify(token)) };
    }
    return { issuer: "own", ...(await this.#own.verify(token)) };
  }

  #externalPrincipalOf(token: ExternalToken): Promise<Principal> {
    if (!this.#external) throw new Error("There is no external issuer.");
    return this.#external.principalOf(token);
  }

  /** A key that is gone must not go on in what was verified with it. */
  async #followKeys(keyIds: readonly string[]): Promise<void> {
    if (this.#own.has(keyIds)) return;
    await this.#own.fetchKeys();
    this.#verified.clear();
  }
}

/** Errors of jose that say something of whoever has the keys. */
const NOT_OF_TOKEN: ReadonlySet<string> = new Set([
  "ERR_JOSE_GENERIC",
  "ERR_JWKS_TIMEOUT",
  "ERR_JWKS_INVALID",
]);

/** Whether an error says that a token is not valid. */
function isOfToken(error: unknown): boolean {
  return error instanceof errors.JOSEError && !NOT_OF_TOKEN.has(error.code);
}
