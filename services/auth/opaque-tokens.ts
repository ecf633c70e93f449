import { createHash, randomBytes } from "node:crypto";

/** 256 random bits, so that one SHA-256 is enough to keep it: there is nothing to guess. */
export function newRefreshToken(): string {
  return randomBytes(32).toString("base64url");
}

/** What is kept of a refresh token or an API key. */
export function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

const API_KEY = /^(rk_[0-9a-f]{12})_[\w-]{43}$/;

/** How a new API key begins: what is shown of it, and what it is found by. */
export function newApiKeyPrefix(): string {
  return `rk_${randomBytes(6).toString("hex")}`;
}

export function newApiKey(prefix: string): string {
  return `${prefix}_${randomBytes(32).toString("base64url")}`;
}

/** The prefix of an API key; undefined for what cannot be one. */
export function prefixOf(key: string): string | undefined {
  return API_KEY.exec(key)?.[1];
}
