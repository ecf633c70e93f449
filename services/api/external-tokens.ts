import { createRemoteJWKSet, jwtVerify, type JWTVerifyGetKey } from "jose";
import { LRUCache } from "lru-cache";
import type { ServiceBroker } from "moleculer";
import { appError } from "../../broker/errors.ts";
import { call } from "../../lib/contracts.ts";
import type { Config } from "../../lib/config.ts";
import type { Principal } from "../../lib/principal.ts";

/** Whose tokens are accepted beside our own. */
export interface ExternalIssuer {
  issuer: string;
  jwksUrl: string;
  audience: string;
}

/** What a token of the issuer says that is signed, for us, and neither expired nor too early. */
export interface ExternalToken {
  /** Verified by the issuer; it is what our users are known by. */
  email: string;
  expiresAtMs: number;
}

/** Asymmetric only: with a shared secret, whoever verifies could sign. */
const ALGORITHMS = ["EdDSA", "Ed25519", "ES256", "ES384", "PS256", "RS256"];

/** Not all issuers mark their access tokens (RFC 9068); the audience keeps their other tokens out. */
const TYPES = new Set(["at+jwt", "jwt", undefined]);

/** How long it may take until a suspension or another role is seen. */
const USER_TTL_MS = 1000;
const MAX_USERS = 10_000;

/** The external issuer of a configuration, if it has one. */
export function externalIssuerOf(
  config: Pick<Config, "AUTH_ISSUER" | "AUTH_JWKS_URL" | "AUTH_AUDIENCE">,
): ExternalIssuer | undefined {
  const { AUTH_ISSUER: issuer, AUTH_JWKS_URL: jwksUrl, AUTH_AUDIENCE: audience } = config;
  if (issuer === undefined || jwksUrl === undefined || audience === undefined) return undefined;
  return { issuer, jwksUrl, audience };
}

/** Verifies the access tokens of another issuer and finds the users of ours that they are of. */
export class ExternalTokens {
  readonly issuer: string;
  readonly #audience: string;
  readonly #keys: JWTVerifyGetKey;
  readonly #principals: LRUCache<string, Principal>;

  constructor({ issuer, jwksUrl, audience }: ExternalIssuer, broker: ServiceBroker) {
    this.issuer = issuer;
    this.#audience = audience;
    this.#keys = createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 2000, cooldownDuration: 10_000 });
    this.#principals = new LRUCache({
      max: MAX_USERS,
      ttl: USER_TTL_MS,
      ttlResolution: 0,
      fetchMethod: (email) => findPrincipal(broker, email),
    });
  }

  /** @throws JOSEError for a token that is not valid, INVALID_TOKEN for one without a verified address, others for keys that cannot be read */
  async verify(token: string): Promise<ExternalToken> {
    const { payload, protectedHeader } = await jwtVerify(token, this.#keys, {
      algorithms: ALGORITHMS,
      issuer: this.issuer,
      audience: this.#audience,
      requiredClaims: ["sub", "exp"],
    });
    const type = protectedHeader.typ?.toLowerCase().replace(/^application\//, "");
    if (!TYPES.has(type)) throw appError("INVALID_TOKEN");
    const { email, email_verified: isVerified, exp = 0 } = payload;
    if (typeof email !== "string" || isVerified !== true) {
      throw appError("INVALID_TOKEN", { detail: "The token has no verified email address." });
    }
    return { email, expiresAtMs: exp * 1000 };
  }

  /**
   * The user with this address, as it was at most a second ago.
   *
   * @throws INVALID_TOKEN when there is none, ACCOUNT_SUSPENDED
   */
  async principalOf({ email }: ExternalToken): Promise<Principal> {
    const principal = await this.#principals.fetch(email);
    if (!principal) throw appError("INVALID_TOKEN");
    return principal;
  }
}

async function findPrincipal(broker: ServiceBroker, email: string): Promise<Principal> {
  try {
    const { id, role, status } = await call(broker, "users.getByEmail", { email });
    if (status === "suspended") throw appError("ACCOUNT_SUSPENDED");
    return { kind: "user", id, role };
  } catch (error) {
    // The second is Moleculer's, for what is no address at all.
    const isUnknown = ["USER_NOT_FOUND", "VALIDATION_ERROR"].includes(
      String((error as { type?: unknown }).type),
    );
    throw isUnknown
      ? appError("INVALID_TOKEN", { detail: "The token is of nobody who is a user here." })
      : error;
  }
}
