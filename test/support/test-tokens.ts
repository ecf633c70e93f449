import { createHash, createPrivateKey, createPublicKey, randomUUID, type KeyObject } from "node:crypto";

import { SignJWT } from "jose";

import type { Role } from "../../lib/principal.ts";

/** AUTH_KEYS of the nodes of tests, so that tests can sign tokens themselves. */
export const TEST_AUTH_KEY = "5e".repeat(32);

export interface TestSigningKey {
  readonly privateKey: KeyObject;
  /** Public members of its JWK. */
  readonly publicKey: { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string };
  readonly kid: string;
}

/** What precedes the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410). */
const PKCS8_PREFIX = "302e020100300506032b657004220420";

/** The key of a setting AUTH_KEYS, with the id that nodes give to it (RFC 7638). */
export function signingKey(hex: string): TestSigningKey {
  const der = Buffer.from(PKCS8_PREFIX + hex, "hex");
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  const kid = createHash("sha256").update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest("base64url");
  return { privateKey, publicKey: { kty: "OKP", crv: "Ed25519", x }, kid };
}

export interface TestClaims {
  readonly id: string;
  readonly role: Role;
  readonly sessionId?: string;
}

/** An access token as the auth service makes them. */
export function signToken(
  { privateKey, kid }: Pick<TestSigningKey, "privateKey" | "kid">,
  { id, role, sessionId = randomUUID() }: TestClaims,
  { expiresInSeconds = 900 } = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ role, sid: sessionId })
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid })
    .setIssuer("rollcall")
    .setAudience("rollcall")
    .setSubject(id)
    .setJti(randomUUID())
    .setIssuedAt(now + Math.min(0, expiresInSeconds - 900))
    .setExpirationTime(now + expiresInSeconds)
    .sign(privateKey);
}
