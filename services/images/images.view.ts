import type { Config } from "../../lib/config.ts";
import { createMediaUrls } from "../../lib/media-url.ts";
import type { Image, UserImages } from "./images.contract.ts";
import { factsOf, shownFile, type ImageRecord } from "./images.domain.ts";

/** Shows images with their URLs, which are not stored: those of private images end. */
export interface ImageView {
  toImage(record: ImageRecord): Image;
  /** @param shown hashes of public images */
  toUserImages(shown: { hashes: readonly string[]; avatar: string | undefined }): UserImages;
}

type ViewConfig = Pick<Config, "CDN_BASE_URL" | "MEDIA_URL_TTL_SECONDS" | "IMAGE_PRESETS" | "IMAGE_FORMATS">;

/** @param secret the node's SECRET */
export function createImageView(config: ViewConfig, secret: string): ImageView {
  const { IMAGE_PRESETS: presets, IMAGE_FORMATS: formats } = config;
  const media = createMediaUrls(config, secret);
  const shown = shownFile(presets, formats);

  const urlOfShown = (hash: string): string => media.urlOf({ visibility: "public", hash, ...shown }, 0);
  return {
    toImage(record) {
      const { visibility, hash } = record;
      const expiry = media.expiry();
      const urlsOf = (preset: string) =>
        Object.fromEntries(
          formats.map((format) => [format, media.urlOf({ visibility, hash, preset, format }, expiry)]),
        );
      return {
        ...factsOf(record),
        urls: Object.fromEntries(presets.map(({ name }) => [name, urlsOf(name)])),
        urlsExpireAt: visibility === "private" ? new Date(expiry * 1000).toISOString() : null,
      };
    },
    toUserImages: ({ hashes, avatar }) => ({
      imageUrls: hashes.map(urlOfShown),
      avatarUrl: avatar === undefined ? null : urlOfShown(avatar),
    }),
  };
}
