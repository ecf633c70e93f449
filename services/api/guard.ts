import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { appError, hasType } from "../../broker/errors.ts";
import { accessOf, refusalOf, type AccessRule } from "../../lib/access.ts";
import type { ActionName } from "../../lib/contracts.ts";
import type { Principal } from "../../lib/principal.ts";
import type { RateLimits } from "./rate-limits.ts";
import { challenge } from "./respond.ts";

/** Finds out whose a credential is. */
export interface CredentialVerifier {
  /** Whose a token is that was verified before; undefined when that has to be looked at (again). */
  principalOf(token: string): Principal | undefined;
  /** @throws INVALID_TOKEN */
  verifyToken(token: string): Promise<Principal>;
  /** @throws INVALID_TOKEN */
  verifyApiKey(key: string): Promise<Principal>;
}

export const ANONYMOUS: Principal = { kind: "anonymous" };

/** Every API key begins so: a token is a JWT, which cannot. */
const API_KEY_PREFIX = "rk_";

const BEARER = /^Bearer +(\S+)$/i;

interface GuardParts {
  verifier: CredentialVerifier;
  /** Undefined: none. */
  limits: RateLimits | undefined;
  isSignupOpen: boolean;
}

/** What a request wants, as far as its first line says. */
interface Intent {
  action: ActionName;
  isRead: boolean;
  /** Of the path: what the request is about. */
  params: Readonly<Record<string, unknown>>;
}

/** Decides who sends a request, whether it comes too often and whether it may, before anything else of it is read. */
export class Guard {
  readonly #parts: GuardParts;

  constructor(parts: GuardParts) {
    this.#parts = parts;
  }

  /**
   * Who sends the request. The response gets the challenge that belongs to a refusal (RFC 6750, 3).
   *
   * @throws AMBIGUOUS_CREDENTIALS, INVALID_TOKEN, UNAUTHENTICATED, FORBIDDEN, RATE_LIMITED
   */
  async admit(request: IncomingMessage, response: ServerResponse, intent: Intent): Promise<Principal> {
    const { action, isRead, params } = intent;
    const rule = accessOf(action);
    // Of most requests that is known, and nothing to wait for.
    const principal = this.#knownSender(request) ?? (await this.#authenticate(request, response, rule));
    await this.#parts.limits?.admit(request, response, { action, isRead, principal });
    const refusal = refusalOf(rule, principal, params, this.#parts);
    if (!refusal) return principal;
    if (principal.kind !== "api-key" || !rule.scope) throw appError(refusal);
    challenge(response, "insufficient_scope", rule.scope);
    throw appError(refusal, { detail: `The API key lacks the scope '${rule.scope}'.` });
  }

  /**
   * Whether the sender of a request that was admitted, and is not over yet, may still do this. While it cannot be known,
   * it is so.
   */
  async stillAdmits(request: IncomingMessage, action: ActionName): Promise<boolean> {
    try {
      const principal = await this.#verify(request.headers);
      return refusalOf(accessOf(action), principal, {}, this.#parts) === undefined;
    } catch (error) {
      return !hasType(error, "INVALID_TOKEN") && !hasType(error, "ACCOUNT_SUSPENDED");
    }
  }

  #knownSender({ headers }: IncomingMessage): Principal | undefined {
    const { authorization, "x-api-key": apiKey } = headers;
    if (authorization === undefined || apiKey !== undefined) return undefined;
    const token = BEARER.exec(authorization)?.[1];
    return token === undefined ? undefined : this.#parts.verifier.principalOf(token);
  }

  async #authenticate(
    request: IncomingMessage,
    response: ServerResponse,
    rule: AccessRule,
  ): Promise<Principal> {
    const { authorization, "x-api-key": apiKey } = request.headers;
    if (authorization !== undefined && apiKey !== undefined) {
      challenge(response, "invalid_request");
      throw appError("AMBIGUOUS_CREDENTIALS");
    }
    try {
      return await this.#verify(request.headers);
    } catch (error) {
      if (!hasType(error, "INVALID_TOKEN")) throw error;
      // Where none are needed, a client may send an expired token along: it refreshes it, or logs out.
      if (rule.anyone === true) return ANONYMOUS;
      await this.#parts.limits?.countWrongCredentials(request, response);
      challenge(response, "invalid_token");
      throw error;
    }
  }

  async #verify({ authorization, "x-api-key": apiKey }: IncomingHttpHeaders): Promise<Principal> {
    if (authorization !== undefined) return this.#verifyBearer(authorization);
    return apiKey === undefined ? ANONYMOUS : this.#parts.verifier.verifyApiKey(String(apiKey));
  }

  async #verifyBearer(authorization: string): Promise<Principal> {
    const [, credential] = BEARER.exec(authorization) ?? [];
    if (credential === undefined) throw appError("INVALID_TOKEN");
    return credential.startsWith(API_KEY_PREFIX)
      ? this.#parts.verifier.verifyApiKey(credential)
      : this.#parts.verifier.verifyToken(credential);
  }
}
