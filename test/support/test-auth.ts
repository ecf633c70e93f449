import { randomUUID } from "node:crypto";

import type { Context, ServiceSchema } from "moleculer";

import type { Principal } from "../../lib/principal.ts";
import { signingKey, signToken, TEST_AUTH_KEY, type TestClaims } from "./test-tokens.ts";

type ApiKeyGrant = Omit<Extract<Principal, { kind: "api-key" }>, "kind">;

/** A service `auth` that vouches for whomever the test wants, for gateways that run without the real one. */
export interface TestAuth {
  readonly service: ServiceSchema;
  /** An access token that it has signed. */
  tokenOf(claims: TestClaims): Promise<string>;
  /** An API key that it knows. */
  apiKeyOf(grant: ApiKeyGrant): string;
}

const key = signingKey(TEST_AUTH_KEY);

/** What its action `keys` answers. */
export const TEST_KEYS = { keys: [{ ...key.publicKey, alg: "EdDSA", use: "sig", kid: key.kid }] };

export function createTestAuth(): TestAuth {
  const grants = new Map<string, ApiKeyGrant>();
  return {
    service: {
      name: "auth",
      actions: {
        health: () => ({}),
        keys: () => TEST_KEYS,
        revocations: () => ({ sessionIds: [], until: new Date().toISOString(), keyIds: [key.kid] }),
        checkApiKey: ({ params }: Context<{ key: string }>) => grants.get(params.key) ?? null,
      },
    },
    tokenOf: (claims) => signToken(key, claims),
    apiKeyOf(grant) {
      const text = `rk_${randomUUID().replaceAll("-", "").slice(0, 12)}_${randomUUID()}`;
      grants.set(text, grant);
      return text;
    },
  };
}
