import { createHmac, createPublicKey, generateKeyPairSync, sign } from "node:crypto";

import { byKey, genuine, signedToken, tokenOf } from "./forge.ts";
import { signingKey, TEST_AUTH_KEY } from "./test-tokens.ts";

const ours = signingKey(TEST_AUTH_KEY);
const theirs = signingKey("2".repeat(64));
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed448 = generateKeyPairSync("ed448");
const ourPublicKey = createPublicKey(ours.privateKey);

const { header, claims } = genuine();
const hmac = (secret: string | Buffer) => (input: string) =>
  createHmac("sha256", secret).update(input).digest();
const byOurs = byKey(ours.privateKey);
const byTheirs = byKey(theirs.privateKey);
const good = signedToken();
const [head = "", body = "", signature = ""] = good.split(".");
const inThePast = Math.floor(Date.now() / 1000) - 1;
const inTheFuture = inThePast + 3600;
const changed = (text: string) => (text.startsWith("A") ? `B${text.slice(1)}` : `A${text.slice(1)}`);
const withHeader = (members: object) => tokenOf({ ...header, ...members }, claims, byTheirs);

/** Tokens of somebody who wants to be the admin, by what is wrong with them. */
export const FORGED_TOKENS: Readonly<Record<string, string>> = {
  // The algorithm.
  "alg none": tokenOf({ ...header, alg: "none" }, claims, () => ""),
  "alg None": tokenOf({ ...header, alg: "None" }, claims, () => ""),
  "alg NONE with a signature": tokenOf({ ...header, alg: "NONE" }, claims, byOurs),
  "alg none with a signature": tokenOf({ ...header, alg: "none" }, claims, byOurs),
  "no alg": signedToken({ header: { alg: undefined } }),
  "alg null": signedToken({ header: { alg: null } }),
  "alg of another case": signedToken({ header: { alg: "eddsa" } }),
  "alg Ed25519, which is not allowed": signedToken({ header: { alg: "Ed25519" } }),
  "alg as a list": signedToken({ header: { alg: ["EdDSA"] } }),
  "HS256 with the public key": tokenOf(
    { ...header, alg: "HS256" },
    claims,
    hmac(Buffer.from(ours.publicKey.x, "base64url")),
  ),
  "HS256 with the public key as text": tokenOf({ ...header, alg: "HS256" }, claims, hmac(ours.publicKey.x)),
  "HS256 with the public key as JWK": tokenOf(
    { ...header, alg: "HS256" },
    claims,
    hmac(JSON.stringify(ours.publicKey)),
  ),
  "HS256 with the public key as PEM": tokenOf(
    { ...header, alg: "HS256" },
    claims,
    hmac(ourPublicKey.export({ format: "pem", type: "spki" })),
  ),
  "HS256 with nothing": tokenOf({ ...header, alg: "HS256" }, claims, hmac("")),
  RS256: tokenOf({ ...header, alg: "RS256" }, claims, (input) =>
    sign("sha256", Buffer.from(input), rsa.privateKey),
  ),
  ES256: tokenOf({ ...header, alg: "ES256" }, claims, (input) =>
    sign("sha256", Buffer.from(input), { key: ec.privateKey, dsaEncoding: "ieee-p1363" }),
  ),
  "EdDSA with Ed448": tokenOf(header, claims, byKey(ed448.privateKey)),

  // The key.
  "another key under our id": tokenOf(header, claims, byTheirs),
  "another key under its own id": withHeader({ kid: theirs.kid }),
  "a key in the header": withHeader({ kid: undefined, jwk: theirs.publicKey }),
  "a key in the header under our id": withHeader({ jwk: theirs.publicKey }),
  "a key in the header under its own id": withHeader({
    kid: theirs.kid,
    jwk: { ...theirs.publicKey, kid: theirs.kid },
  }),
  "a jku": withHeader({ kid: theirs.kid, jku: "http://127.0.0.1:9/keys" }),
  "a jku under our id": withHeader({ jku: "http://127.0.0.1:9/keys" }),
  "an x5u": withHeader({ x5u: "http://127.0.0.1:9/cert" }),
  "an x5c": withHeader({ x5c: [rsa.publicKey.export({ format: "der", type: "spki" }).toString("base64")] }),
  "no kid": signedToken({ header: { kid: undefined } }),
  "an empty kid": signedToken({ header: { kid: "" } }),
  "a kid that is a path": withHeader({ kid: "../../../../dev/null" }),
  "a kid that is SQL": withHeader({ kid: "' OR '1'='1" }),
  "a kid that is a member of every object": withHeader({ kid: "__proto__" }),
  "a kid that is a method of every object": withHeader({ kid: "constructor" }),
  "a kid that is a list": signedToken({ header: { kid: [ours.kid] } }),
  "a kid with more at its end": signedToken({ header: { kid: `${ours.kid}\u0000` } }),

  // What it is.
  "no typ": signedToken({ header: { typ: undefined } }),
  "typ JWT": signedToken({ header: { typ: "JWT" } }),
  "typ of a refresh token": signedToken({ header: { typ: "rt+jwt" } }),
  "a crit that nobody knows": signedToken({ header: { crit: ["exp"], exp: 1 } }),
  "a payload that is not encoded": signedToken({ header: { crit: ["b64"], b64: false } }),

  // From whom and for whom.
  "no iss": signedToken({ claims: { iss: undefined } }),
  "another iss": signedToken({ claims: { iss: "https://evil.example" } }),
  "an iss with more at its end": signedToken({ claims: { iss: "rollcall/" } }),
  "an iss that is a list": signedToken({ claims: { iss: ["rollcall"] } }),
  "no aud": signedToken({ claims: { aud: undefined } }),
  "another aud": signedToken({ claims: { aud: "somebody else" } }),
  "an aud that begins like ours": signedToken({ claims: { aud: "rollcall2" } }),
  "an aud that lists others": signedToken({ claims: { aud: ["a", "b"] } }),

  // When.
  expired: signedToken({ claims: { exp: inThePast } }),
  "no exp": signedToken({ claims: { exp: undefined } }),
  "an exp that is text": signedToken({ claims: { exp: String(inTheFuture) } }),
  "an exp that is null": signedToken({ claims: { exp: null } }),
  "not valid yet": signedToken({ claims: { nbf: inTheFuture } }),
  "an nbf that is text": signedToken({ claims: { nbf: "0" } }),
  "no iat": signedToken({ claims: { iat: undefined } }),

  // Who.
  "no sub": signedToken({ claims: { sub: undefined } }),
  "a sub that is a number": signedToken({ claims: { sub: 1 } }),
  "no sid": signedToken({ claims: { sid: undefined } }),
  "no role": signedToken({ claims: { role: undefined } }),
  "a role that there is not": signedToken({ claims: { role: "root" } }),
  "a role that is a list": signedToken({ claims: { role: ["admin"] } }),
  "no jti": signedToken({ claims: { jti: undefined } }),

  // The text.
  "no signature": `${head}.${body}.`,
  "two parts": `${head}.${body}`,
  "four parts": `${good}.${signature}`,
  "five parts, as encrypted ones have": `${head}.${body}.${signature}.${body}.${signature}`,
  "cut off": good.slice(0, -2),
  "a changed signature": `${head}.${body}.${changed(signature)}`,
  "a signature with more at its end": `${good}AAAA`,
  "a changed payload": `${head}.${Buffer.from(JSON.stringify({ ...claims, sub: "other" })).toString("base64url")}.${signature}`,
  "a changed header": `${Buffer.from(JSON.stringify({ ...header, x: 1 })).toString("base64url")}.${body}.${signature}`,
  "a header that is no JSON": tokenOf("header", claims, byOurs),
  "a payload that is no JSON": tokenOf(header, "payload", byOurs),
  "a payload that is a list": tokenOf(header, "[]", byOurs),
  "a payload that is null": tokenOf(header, "null", byOurs),
  nothing: "",
  dots: "..",
  JSON: JSON.stringify({ protected: head, payload: body, signature }),
  "longer than any token": signedToken({ claims: { padding: "x".repeat(8192) } }),
};
