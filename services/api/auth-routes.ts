import { API_PREFIX, JSON_BODY, type RestRoute } from "./rest-route.ts";

const BASE = `${API_PREFIX}/auth`;

/** Answers that hold secrets, or are about whoever asks. */
const NO_STORE = { cacheControl: "no-store" };
const TOKENS = { representation: { kind: "plain", xmlRoot: "tokens" }, ...NO_STORE } as const;
const API_KEY = { representation: { kind: "plain", xmlRoot: "apiKey" }, ...NO_STORE } as const;

/** Logging in and out, API keys, and the public keys of access tokens. */
export const AUTH_ROUTES: readonly RestRoute[] = [
  {
    method: "POST",
    path: `${BASE}/login`,
    action: "auth.login",
    status: 200,
    consumes: JSON_BODY,
    ...TOKENS,
  },
  {
    method: "POST",
    path: `${BASE}/refresh`,
    action: "auth.refresh",
    status: 200,
    consumes: JSON_BODY,
    ...TOKENS,
  },
  {
    method: "POST",
    path: `${BASE}/logout`,
    action: "auth.logout",
    status: 204,
    consumes: JSON_BODY,
    isBodyOptional: true,
  },
  {
    method: "GET",
    path: `${BASE}/me`,
    action: "auth.me",
    status: 200,
    representation: { kind: "plain", xmlRoot: "me" },
    ...NO_STORE,
  },
  {
    method: "POST",
    path: `${BASE}/password`,
    action: "auth.changePassword",
    status: 204,
    consumes: JSON_BODY,
  },
  {
    method: "POST",
    path: `${BASE}/api-keys`,
    action: "auth.createApiKey",
    status: 201,
    consumes: JSON_BODY,
    ...API_KEY,
  },
  {
    method: "GET",
    path: `${BASE}/api-keys`,
    action: "auth.listApiKeys",
    status: 200,
    representation: { kind: "page", xmlRoot: "apiKeys" },
    ...NO_STORE,
  },
  { method: "DELETE", path: `${BASE}/api-keys/:id`, action: "auth.revokeApiKey", status: 204 },
  {
    method: "POST",
    path: `${BASE}/api-keys/:id/rotate`,
    action: "auth.rotateApiKey",
    status: 200,
    consumes: JSON_BODY,
    isBodyOptional: true,
    ...API_KEY,
  },
  {
    method: "GET",
    path: "/.well-known/jwks.json",
    action: "auth.keys",
    status: 200,
    representation: { kind: "plain", xmlRoot: "keys" },
    // A new key is put behind the one that signs, so nobody needs it at once.
    cacheControl: "public, max-age=60",
  },
];
