import { expect, test } from "@jest/globals";

import type { MediaFile } from "../../../lib/media-path.ts";
import { createMediaUrls } from "../../../lib/media-url.ts";
import { createUrlSigner } from "../../../lib/signed-url.ts";

const SECRET = "a secret of the deployment";
const HASH = "ab".repeat(32);
const PUBLIC: MediaFile = { visibility: "public", hash: HASH, preset: "small", format: "webp" };
const PRIVATE: MediaFile = { ...PUBLIC, visibility: "private" };

test("a public file has a path at the gateway, or a URL at the CDN", () => {
  const path = `/media/${HASH}/small.webp`;
  expect(
    createMediaUrls({ MEDIA_URL_TTL_SECONDS: 60, CDN_BASE_URL: undefined }, SECRET).urlOf(PUBLIC, 0),
  ).toBe(path);
  const atCdn = createMediaUrls(
    { MEDIA_URL_TTL_SECONDS: 60, CDN_BASE_URL: "https://cdn.example.com/a" },
    SECRET,
  );
  expect(atCdn.urlOf(PUBLIC, 0)).toBe(`https://cdn.example.com/a${path}`);
});

test("a private file has a signed path at the gateway, also with a CDN", () => {
  const urls = createMediaUrls(
    { MEDIA_URL_TTL_SECONDS: 60, CDN_BASE_URL: "https://cdn.example.com" },
    SECRET,
  );
  const [path = "", query = ""] = urls.urlOf(PRIVATE, urls.expiry()).split("?");
  expect(path).toBe(`/media/private/${HASH}/small.webp`);
  expect(createUrlSigner(SECRET).verify({ method: "GET", path }, query)).toBe(urls.expiry());
});

test("URLs of private files stay the same for their life, and live for one to two of those", () => {
  const urls = createMediaUrls({ MEDIA_URL_TTL_SECONDS: 100, CDN_BASE_URL: undefined }, SECRET);
  expect(urls.expiry(1_000_000)).toBe(1200);
  expect(urls.expiry(1_099_999)).toBe(1200);
  expect(urls.expiry(1_100_000)).toBe(1300);
});
