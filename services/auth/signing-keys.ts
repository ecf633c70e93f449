import { createHash, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { SignJWT } from "jose";
import { newId } from "../../lib/ids.ts";
import type { Role } from "../../lib/principal.ts";
import { StartupError } from "../../lib/startup-error.ts";
import { ACCESS_TOKEN_TTL_SECONDS, TOKEN_AUDIENCE, TOKEN_ISSUER, type PublicKey } from "./auth.contract.ts";

/** What precedes the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

interface SigningKey {
  privateKey: KeyObject;
  publicKey: PublicKey;
}

/** What an access token says. */
export interface AccessClaims {
  userId: string;
  role: Role;
  sessionId: string;
}

/** The keys of access tokens: the first signs, all of them verify. */
export class SigningKeys {
  readonly publicKeys: readonly PublicKey[];
  readonly #signing: SigningKey;

  /** @param privateKeys at least one, 32 bytes in hexadecimal each */
  constructor(privateKeys: readonly string[]) {
    const keys = privateKeys.map(toSigningKey);
    const [first] = keys;
    if (!first) throw new Error("There is no key to sign access tokens with.");
    this.#signing = first;
    this.publicKeys = keys.map(({ publicKey }) => publicKey);
  }

  /** An access token (RFC 9068) that is valid from now on for {@link ACCESS_TOKEN_TTL_SECONDS}. */
  sign({ userId, role, sessionId }: AccessClaims): Promise<string> {
    const { privateKey, publicKey } = this.#signing;
    const issuedAt = Math.floor(Date.now() / 1000);
    return new SignJWT({ role, sid: sessionId })
      .setProtectedHeader({ alg: publicKey.alg, typ: "at+jwt", kid: publicKey.kid })
      .setIssuer(TOKEN_ISSUER)
      .setAudience(TOKEN_AUDIENCE)
      .setSubject(userId)
      .setJti(newId())
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + ACCESS_TOKEN_TTL_SECONDS)
      .sign(privateKey);
  }
}

/** @throws StartupError for what is no key */
function toSigningKey(hex: string): SigningKey {
  if (!/^[\da-f]{64}$/.test(hex)) {
    throw new StartupError(
      "DATA_DIR/auth-keys must hold keys of 64 hexadecimal digits, separated by commas.",
    );
  }
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, Buffer.from(hex, "hex")]),
    format: "der",
    type: "pkcs8",
  });
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  const publicKey = { kty: "OKP", crv: "Ed25519", alg: "EdDSA", use: "sig", kid: thumbprint(x), x } as const;
  return { privateKey, publicKey };
}

/** RFC 7638: the same key has the same id on every node. */
function thumbprint(x: string): string {
  return createHash("sha256").update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest("base64url");
}
