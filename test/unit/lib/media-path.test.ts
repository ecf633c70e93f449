import { expect, test } from "@jest/globals";

import {
  MEDIA_FORMATS,
  mediaHash,
  mediaPath,
  mediaType,
  parseMediaPath,
  VISIBILITIES,
  type MediaFile,
} from "../../../lib/media-path.ts";

const HASH = mediaHash("0197a2b4-0000-7000-8000-000000000000", "ab".repeat(32));
const FILES = VISIBILITIES.flatMap((visibility) =>
  MEDIA_FORMATS.flatMap((format) =>
    ["s", "thumb-2", "p".repeat(32)].map((preset): MediaFile => ({ visibility, hash: HASH, preset, format })),
  ),
);

test("a path leads back to its file", () => {
  expect(FILES.map((file) => parseMediaPath(mediaPath(file)))).toEqual(FILES);
});

test("no two files share a path", () => {
  expect(new Set(FILES.map(mediaPath)).size).toBe(FILES.length);
});

test.each([
  "",
  "/media",
  `/media/${HASH}`,
  `/media/${HASH}/small`,
  `/media/${HASH}/small.png`,
  `/media/${HASH}/Small.webp`,
  `/media/${HASH}/${"p".repeat(33)}.webp`,
  `/media/${HASH}/.webp`,
  `/media/${HASH}/400.webp`,
  `/media/${HASH}/small.webp/`,
  `/media/${HASH}/small.webp?a=b`,
  `/media/${HASH}/small.webp\n`,
  `/media/${HASH}/../small.webp`,
  `/media/${HASH.toUpperCase()}/small.webp`,
  `/media/${HASH.slice(1)}/small.webp`,
  `/media/public/${HASH}/small.webp`,
  `/media/private//${HASH}/small.webp`,
  `media/${HASH}/small.webp`,
])("a path that nothing is made for leads nowhere: %j", (path) => {
  expect(parseMediaPath(path)).toBeUndefined();
});

test("a format has the media type that is registered for it", () => {
  expect(MEDIA_FORMATS.map(mediaType)).toEqual(["image/avif", "image/webp", "image/jpeg"]);
});
