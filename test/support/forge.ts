import { sign, type KeyObject } from "node:crypto";

import { signingKey, TEST_AUTH_KEY } from "./test-tokens.ts";

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
export function genuine(): { header: Members; claims: Members } {
  return {
    header: { alg: "EdDSA", typ: "at+jwt", kid: signingKey(TEST_AUTH_KEY).kid },
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
  const base = genuine();
  const { privateKey } = signingKey(TEST_AUTH_KEY);
  return tokenOf({ ...base.header, ...header }, { ...base.claims, ...claims }, byKey(privateKey));
}
