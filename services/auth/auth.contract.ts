import type { HealthReport } from "../../lib/health.ts";
import { SCOPES, type Role, type Scope } from "../../lib/principal.ts";
import type { Infer } from "../../lib/validation.ts";
import { getUserByEmailParams, newPassword, type User } from "../users/users.contract.ts";

/** How long an access token is valid; also how long a revocation has to be remembered. */
export const ACCESS_TOKEN_TTL_SECONDS = 900;

/** `iss` and `aud` of our access tokens. */
export const TOKEN_ISSUER = "rollcall";
export const TOKEN_AUDIENCE = "rollcall";

/** What a login gives (RFC 6749, 5.1, in camel case). */
export interface TokenPair {
  /** JWT, to be sent as `Authorization: Bearer …`. */
  accessToken: string;
  /** Opaque; can be used once, for the next pair. */
  refreshToken: string;
  tokenType: "Bearer";
  /** Seconds until the access token expires. */
  expiresIn: number;
}

/** Who is asking, as the system sees it. */
export type Me =
  { kind: "user"; id: string; role: Role; user: User } | { kind: "api-key"; id: string; scopes: Scope[] };

/** An API key without what is secret. Dates are ISO 8601 in UTC. */
export interface ApiKey {
  id: string;
  name: string;
  /** How the key begins, so that it can be recognised: `rk_1a2b3c4d5e6f`. */
  prefix: string;
  scopes: Scope[];
  createdAt: string;
  /** Null: it does not expire. */
  expiresAt: string | null;
  /** To the minute. */
  lastUsedAt: string | null;
  /** Until then the key before the last rotation is valid too. */
  previousValidUntil: string | null;
  revokedAt: string | null;
}

/** As it is shown once, when it was made or rotated. */
export interface ApiKeyWithSecret extends ApiKey {
  /** The whole key, to be sent as `X-Api-Key` or as a bearer token. */
  key: string;
}

/** `nextCursor` is null on the last page. */
export interface ApiKeyPage {
  data: ApiKey[];
  nextCursor: string | null;
}

/** What a valid API key allows. */
export interface ApiKeyGrant {
  id: string;
  scopes: Scope[];
}

/** A public key that access tokens are verified with (RFC 8037). */
export interface PublicKey {
  kty: "OKP";
  crv: "Ed25519";
  alg: "EdDSA";
  use: "sig";
  kid: string;
  x: string;
}

/** The sessions that ended since a point in time, and the ids of the keys that are valid now. */
export interface RevocationReport {
  sessionIds: string[];
  /** `since` of the next question. ISO 8601, by the clock of the database. */
  until: string;
  keyIds: string[];
}

/** What is kept about a user, for its export. Nothing secret. */
export interface AuthExport {
  password: { changedAt: string } | null;
  sessions: { id: string; createdAt: string; lastUsedAt: string; expiresAt: string }[];
}

const userId = { type: "uuid" } as const;
const { email } = getUserByEmailParams;

/** A password that is only compared: what a rule says about it would tell how passwords look. */
const presentedPassword = { type: "string", min: 1, max: 256 } as const;

const opaque = { type: "string", min: 1, max: 1000 } as const;

export const loginParams = { $$strict: true, email, password: presentedPassword } as const;
export const refreshParams = { $$strict: true, refreshToken: opaque } as const;
export const logoutParams = { $$strict: true, refreshToken: { ...opaque, optional: true } } as const;
export const changePasswordParams = {
  $$strict: true,
  currentPassword: presentedPassword,
  newPassword,
} as const;
export const createApiKeyParams = {
  $$strict: true,
  name: {
    type: "string",
    trim: true,
    min: 1,
    max: 100,
    pattern: /^[^\p{Cc}\p{Cs}]*$/u,
    messages: { stringPattern: "The '{field}' field must not contain control characters." },
  },
  scopes: { type: "array", min: 1, unique: true, items: { type: "enum", values: SCOPES } },
  expiresInDays: { type: "number", integer: true, min: 1, max: 3650, optional: true },
} as const;
export const listApiKeysParams = {
  $$strict: true,
  limit: { type: "number", integer: true, min: 1, max: 100, convert: true, default: 20 },
  cursor: { type: "string", min: 1, max: 1000, optional: true },
} as const;
export const apiKeyParams = { $$strict: true, id: { type: "uuid" } } as const;
export const rotateApiKeyParams = {
  $$strict: true,
  id: { type: "uuid" },
  /** How long the key before stays valid. */
  overlapMinutes: { type: "number", integer: true, min: 0, max: 10_080, default: 1440 },
} as const;
export const setPasswordParams = { $$strict: true, userId, password: newPassword } as const;
export const checkApiKeyParams = { $$strict: true, key: { type: "string", min: 1, max: 200 } } as const;
export const revocationsParams = {
  $$strict: true,
  since: { type: "string", pattern: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, optional: true },
} as const;
export const ofUserParams = { $$strict: true, userId } as const;

/** Actions of the auth service. What is marked as internal is for other services only. */
export interface AuthActions {
  "auth.health": { params: Record<string, never>; result: HealthReport };
  /** @throws INVALID_CREDENTIALS, ACCOUNT_SUSPENDED, OVERLOADED */
  "auth.login": { params: Infer<typeof loginParams>; result: TokenPair };
  /** Exchanges a refresh token for the next pair. One that was used before ends its session. @throws INVALID_REFRESH_TOKEN, ACCOUNT_SUSPENDED */
  "auth.refresh": { params: Infer<typeof refreshParams>; result: TokenPair };
  /** Ends the session of the refresh token, else that of the caller. Ending one that has ended is no error. */
  "auth.logout": { params: Infer<typeof logoutParams>; result: null };
  "auth.me": { params: Record<string, never>; result: Me };
  /** Also ends all other sessions of the caller. @throws INVALID_CREDENTIALS, VALIDATION_FAILED, OVERLOADED */
  "auth.changePassword": { params: Infer<typeof changePasswordParams>; result: null };
  "auth.createApiKey": { params: Infer<typeof createApiKeyParams>; result: ApiKeyWithSecret };
  /** The newest first; revoked ones too. @throws INVALID_CURSOR */
  "auth.listApiKeys": { params: Partial<Infer<typeof listApiKeysParams>>; result: ApiKeyPage };
  /** For good, and at once. @throws API_KEY_NOT_FOUND also for one that is revoked */
  "auth.revokeApiKey": { params: Infer<typeof apiKeyParams>; result: null };
  /** Gives the key a new secret; the one before stays valid for a while. @throws API_KEY_NOT_FOUND */
  "auth.rotateApiKey": {
    params: Omit<Infer<typeof rotateApiKeyParams>, "overlapMinutes"> & { overlapMinutes?: number };
    result: ApiKeyWithSecret;
  };

  /**
   * Internal. Gives a user its password, also one that is about to be created under this id: call it before the
   * transaction that creates the user. What is left when that fails is deleted later. Ends all sessions of the user.
   *
   * @throws VALIDATION_FAILED for a common password, OVERLOADED
   */
  "auth.setPassword": { params: Infer<typeof setPasswordParams>; result: null };
  /** Internal. Null: there is no such key, or it is revoked or expired. */
  "auth.checkApiKey": { params: Infer<typeof checkApiKeyParams>; result: ApiKeyGrant | null };
  /** Internal. The keys that access tokens are verified with. */
  "auth.keys": { params: Record<string, never>; result: { keys: PublicKey[] } };
  /** Internal. Without `since`: all that can still matter. */
  "auth.revocations": { params: Infer<typeof revocationsParams>; result: RevocationReport };
  /** Internal. Ends every session of a user: after it was suspended, deleted, or given another role. */
  "auth.endSessions": { params: Infer<typeof ofUserParams>; result: null };
  /** Internal. */
  "auth.exportUser": { params: Infer<typeof ofUserParams>; result: AuthExport };
  /** Internal. Removes everything that is kept about a user. */
  "auth.eraseUser": { params: Infer<typeof ofUserParams>; result: null };
}

/** Transient events between nodes. */
export interface AuthTransientEvents {
  /** These sessions have ended, and with them their access tokens. What gets lost is found by `auth.revocations`. */
  "auth-revoked": { sessionIds: string[] };
}
