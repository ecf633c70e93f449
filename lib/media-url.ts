import type { Config } from "./config.ts";
import { mediaPath, type MediaFile } from "./media-path.ts";
import { createUrlSigner } from "./signed-url.ts";

/** Makes the URLs of the files of images. */
export interface MediaUrls {
  /**
   * When URLs of private images that are made now end, in seconds since 1970. It moves in steps of their life: for that
   * long the URLs stay the same, so that browsers may keep what is behind them.
   */
  expiry(nowMs?: number): number;
  /**
   * The URL of a file: of a public one at the CDN if there is one. One of a private file is always a path of the
   * gateway: a CDN that leaves queries out of its cache keys would give it to everybody.
   *
   * @param expiresAtSeconds of private ones, from {@link expiry}
   */
  urlOf(file: MediaFile, expiresAtSeconds: number): string;
}

/** @param secret the node's SECRET */
export function createMediaUrls(
  config: Pick<Config, "CDN_BASE_URL" | "MEDIA_URL_TTL_SECONDS">,
  secret: string,
): MediaUrls {
  const { CDN_BASE_URL: base = "", MEDIA_URL_TTL_SECONDS: ttlSeconds } = config;
  const signer = createUrlSigner(secret);
  return {
    expiry: (nowMs = Date.now()) => (Math.floor(nowMs / 1000 / ttlSeconds) + 2) * ttlSeconds,
    urlOf(file, expiresAtSeconds) {
      const path = mediaPath(file);
      return file.visibility === "private"
        ? signer.sign({ method: "GET", path }, expiresAtSeconds)
        : `${base}${path}`;
    },
  };
}
