import { createPublicKey, type KeyObject } from "node:crypto";
import { jwtVerify, type JWTHeaderParameters } from "jose";
import type { ServiceBroker } from "moleculer";
import { appError } from "../../broker/errors.ts";
import { call } from "../../lib/contracts.ts";
import type { Principal, Role } from "../../lib/principal.ts";
import { TOKEN_AUDIENCE, TOKEN_ISSUER } from "../auth/auth.contract.ts";

/** What a token says that is signed, for us, and neither expired nor too early. */
export interface VerifiedToken {
  principal: Extract<Principal, { kind: "user" }> & { sessionId: string };
  expiresAtMs: number;
}

/** An unknown key id makes the keys be read again, at most this often: ids come from whoever sends a token. */
const MIN_FETCH_INTERVAL_MS = 1000;

const ROLES: readonly unknown[] = ["user", "admin"] satisfies Role[];

/**
 * Verifies our access tokens as RFC 8725 and RFC 9068 want it: one algorithm, our issuer and audience, the type of
 * access tokens, and only keys that the auth service has told us of, whatever a token brings along.
 */
export class OwnTokens {
  readonly #broker: ServiceBroker;
  #keys: ReadonlyMap<string, KeyObject> = new Map();
  #fetchedAt = -Infinity;
  #fetching: Promise<void> | undefined;

  constructor(broker: ServiceBroker) {
    this.#broker = broker;
  }

  /** The ids of the keys that are known. */
  get keyIds(): string[] {
    return [...this.#keys.keys()];
  }

  /** Whether the known keys are exactly those with these ids. */
  has(keyIds: readonly string[]): boolean {
    return keyIds.length === this.#keys.size && keyIds.every((id) => this.#keys.has(id));
  }

  /** Reads the keys from the auth service; those who come meanwhile share it. */
  fetchKeys(): Promise<void> {
    this.#fetching ??= this.#fetch().finally(() => (this.#fetching = undefined));
    return this.#fetching;
  }

  /** @throws JOSEError for a token that is not valid, INVALID_TOKEN for one without our claims, SERVICE_UNAVAILABLE */
  async verify(token: string): Promise<VerifiedToken> {
    const { payload } = await jwtVerify(token, (header) => this.#keyOf(header), {
      algorithms: ["EdDSA"],
      typ: "at+jwt",
      issuer: TOKEN_ISSUER,
      audience: TOKEN_AUDIENCE,
      requiredClaims: ["sub", "sid", "role", "iat", "exp", "jti"],
    });
    const { sub, sid, role, exp = 0 } = payload;
    if (typeof sub !== "string" || typeof sid !== "string" || !isRole(role)) throw appError("INVALID_TOKEN");
    return { principal: { kind: "user", id: sub, role, sessionId: sid }, expiresAtMs: exp * 1000 };
  }

  async #keyOf({ kid }: JWTHeaderParameters): Promise<KeyObject> {
    const id = kid ?? "";
    const isDue = performance.now() - this.#fetchedAt > MIN_FETCH_INTERVAL_MS;
    if (!this.#keys.has(id) && isDue) await this.fetchKeys();
    const key = this.#keys.get(id);
    if (!key) throw appError("INVALID_TOKEN");
    return key;
  }

  async #fetch(): Promise<void> {
    const { keys } = await call(this.#broker, "auth.keys", {});
    this.#keys = new Map(
      keys.map((key) => [key.kid, createPublicKey({ key: { ...key }, format: "jwk" })] as const),
    );
    this.#fetchedAt = performance.now();
  }
}

function isRole(role: unknown): role is Role {
  return ROLES.includes(role);
}
