import { describe, expect, test } from "@jest/globals";

import { createUrlSigner, type SignedRequest } from "../../../lib/signed-url.ts";

const signer = createUrlSigner("a secret of the deployment");
const NOW_MS = 1_700_000_000_500;
const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const EXPIRES = 1_700_000_060;
const GET: SignedRequest = { method: "GET", path: "/media/private/abc/small.webp" };
const PUT: SignedRequest = { method: "PUT", path: "/uploads/1", bytes: 100, contentType: "image/png" };

function queryOf(request: SignedRequest, expires = EXPIRES): string {
  return signer.sign(request, expires).split("?")[1] ?? "";
}

test("a URL that was signed allows its request until it expires, on every node with the same secret", () => {
  expect(signer.sign(GET, EXPIRES)).toMatch(
    /^\/media\/private\/abc\/small\.webp\?expires=1700000060&signature=[\w-]{43}$/,
  );
  for (const request of [GET, PUT]) {
    const query = queryOf(request);
    expect(createUrlSigner("a secret of the deployment").verify(request, query, NOW_MS)).toBe(EXPIRES);
    expect(signer.verify(request, query, EXPIRES * 1000 - 1)).toBe(EXPIRES);
    expect(signer.verify(request, query, EXPIRES * 1000)).toBeUndefined();
  }
});

test("a signature of another deployment is refused", () => {
  expect(createUrlSigner("another secret").verify(GET, queryOf(GET), NOW_MS)).toBeUndefined();
});

describe("a URL allows no other request", () => {
  test.each<[string, SignedRequest, SignedRequest]>([
    ["another path", GET, { ...GET, path: "/media/private/abc/large.webp" }],
    ["another method", { method: "GET", path: "/uploads/1" }, { method: "PUT", path: "/uploads/1" }],
    ["more bytes", PUT, { ...PUT, bytes: 101 }],
    ["another type", PUT, { ...PUT, contentType: "text/html" }],
    ["no type", PUT, { method: "PUT", path: "/uploads/1", bytes: 100 }],
  ])("%s", (_, signed, asked) => {
    expect(signer.verify(signed, queryOf(signed), NOW_MS)).toBe(EXPIRES);
    expect(signer.verify(asked, queryOf(signed), NOW_MS)).toBeUndefined();
  });
});

test("a query that was changed in any way is refused", () => {
  const query = queryOf(GET);
  const signature = query.slice(-43);
  // The last character has two bits that belong to no byte.
  const sameBytes = BASE64URL.charAt(BASE64URL.indexOf(query.slice(-1)) ^ 1);
  for (const changed of [
    "",
    `${query}&a=1`,
    `a=1&${query}`,
    query.replace("expires=", "expires=0"),
    query.replace("1700000060", "1700000061"),
    query.slice(0, -1),
    `${query}A`,
    `${query.slice(0, -1)}${sameBytes}`,
    `signature=${signature}&expires=${EXPIRES}`,
    query.replace(signature, "A".repeat(43)),
    query.replace(signature, "é".repeat(43)),
  ]) {
    expect(signer.verify(GET, changed, NOW_MS)).toBeUndefined();
  }
});
