import { timingSafeEqual } from "node:crypto";
import { newId } from "../../lib/ids.ts";
import type { Scope } from "../../lib/principal.ts";
import type { ApiKeyRecord, UsableApiKey } from "./api-keys.repository.ts";
import type { ApiKey } from "./auth.contract.ts";
import { hashOf, newApiKey, newApiKeyPrefix } from "./opaque-tokens.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** A record together with the key that it was made for, which is not kept. */
interface Issued {
  record: ApiKeyRecord;
  key: string;
}

interface NewApiKey {
  name: string;
  scopes: Scope[];
  expiresInDays?: number | undefined;
}

export function issueApiKey({ name, scopes, expiresInDays }: NewApiKey, now: Date): Issued {
  const prefix = newApiKeyPrefix();
  const key = newApiKey(prefix);
  const record: ApiKeyRecord = {
    id: newId(),
    name,
    prefix,
    scopes,
    hash: hashOf(key),
    previousHash: null,
    previousValidUntil: null,
    createdAt: now.toISOString(),
    expiresAt: expiresInDays === undefined ? null : later(now, expiresInDays * DAY_MS),
    lastUsedAt: null,
    revokedAt: null,
  };
  return { record, key };
}

/** The same key with a new secret; the one before the last rotation is no longer valid, overlap or not. */
export function rotateApiKey(record: ApiKeyRecord, overlapMinutes: number, now: Date): Issued {
  const key = newApiKey(record.prefix);
  const rotated = {
    ...record,
    hash: hashOf(key),
    previousHash: record.hash,
    previousValidUntil: later(now, overlapMinutes * MINUTE_MS),
  };
  return { record: rotated, key };
}

/** Whether this is the whole key, or the one before its rotation while that is valid. */
export function isKeyOf(record: UsableApiKey, key: string): boolean {
  const hash = hashOf(key);
  if (timingSafeEqual(hash, record.hash)) return true;
  return record.isPreviousValid && record.previousHash !== null && timingSafeEqual(hash, record.previousHash);
}

/** The representation of a key: nothing secret. */
export function toApiKey({ hash: _hash, previousHash: _previousHash, ...apiKey }: ApiKeyRecord): ApiKey {
  return apiKey;
}

function later(now: Date, milliseconds: number): string {
  return new Date(now.getTime() + milliseconds).toISOString();
}
