import { createHash, createPrivateKey, createPublicKey, sign, type KeyObject } from "node:crypto";

/** The key that nodes of auth are given in tests, and so what forgers would love to have. */
export const AUTH_KEY = "1".repeat(64);

const PKCS8_PREFIX = "302e020100300506032b657004220420";

export interface SigningPair {
  readonly privateKey: KeyObject;
  readonly kid: string;
  /** The public key as JWK. */
  readonly jwk: { readonly kty: string; readonly crv: string; readonly x: string };
}

/** The key pair that a node of auth makes of one entry of AUTH_KEYS. */
export function pairOf(hex: string): SigningPair {
  const privateKey = createPrivateKey({
    key: Buffer.from(PKCS8_PREFIX + hex, "hex"),
    format: "der",
    type: "pkcs8",
  });
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  const jwk = { crv: "Ed25519", kty: "OKP", x };
  return { privateKey, jwk, kid: createHash("sha256").update(JSON.stringify(jwk)).digest("base64url") };
}

type Members = Readonly<Record<string, unknown>>;
type Sign = (input: string) => Buffer | string;

const encode = (value: unknown): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** A signature with an Ed25519 key. */
export const byKey =
  (key: KeyObject): Sign =>
  (input) =>
    sign(null, Buffer.from(input), key);

/** Any three parts that look like a token, signed in any way. */
export function tokenOf(header: Members | string, claims: Members | string, signature: Sign): string {
  const input = `${encode(header)}.${encode(claims)}`;
  const made = signature(input);
  return `${input}.${typeof made === "string" ? made : made.toString("base64url")}`;
}

const seconds = (): number => Math.floor(Date.now() / 1000);

/** The header and the claims of a token as the auth service makes them. */
export function genuine(pair: SigningPair = pairOf(AUTH_KEY)): { header: Members; claims: Members } {
  return {
    header: { alg: "EdDSA", typ: "at+jwt", kid: pair.kid },
    claims: {
      iss: "rollcall",
      aud: "rollcall",
      sub: "01890a5d-ac96-774b-bcce-b302099a8057",
      role: "admin",
      sid: "01890a5d-ac96-774b-bcce-b302099a8058",
      jti: "01890a5d-ac96-774b-bcce-b302099a8059",
      iat: seconds(),
      exp: seconds() + 900,
    },
  };
}

/** A token of the test's making with a right signature; a member that is undefined is left out. */
export function signedToken({
  header = {},
  claims = {},
}: { header?: Members; claims?: Members } = {}): string {
  const pair = pairOf(AUTH_KEY);
  const base = genuine(pair);
  return tokenOf({ ...base.header, ...header }, { ...base.claims, ...claims }, byKey(pair.privateKey));
}
