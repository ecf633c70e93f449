import { expect, test } from "@jest/globals";

import { loadConfig } from "../../../lib/config.ts";
import { isConfigured } from "../../../lib/image-settings.ts";

const ORIGIN = "must be an origin such as https://app.example.com, without a path";
const BASE_URL = "must be a URL such as https://cdn.example.com, without a query";
const PRESETS =
  "must be presets such as thumb:64x64 or small:256, with names of a-z, 0-9 and - that begin with a letter";

test.each<[name: string, value: string, problem: string]>([
  ["S3_ENDPOINT", "http://minio:9000/x", ORIGIN],
  ["S3_PUBLIC_ENDPOINT", "minio:9000", ORIGIN],
  ["CDN_BASE_URL", "cdn.example.com", BASE_URL],
  ["CDN_BASE_URL", "ftp://cdn.example.com", BASE_URL],
  ["CDN_BASE_URL", "https://cdn.example.com?a", BASE_URL],
  ...[
    "thumb",
    "thumb:0",
    "thumb:64x",
    "thumb:64x0",
    "Thumb:64",
    "a/b:64",
    "400:400",
    "-s:64",
    `${"n".repeat(33)}:64`,
  ].map((presets): [string, string, string] => ["IMAGE_PRESETS", presets, PRESETS]),
  ["IMAGE_PRESETS", "a:1,:2", PRESETS],
  ["IMAGE_PRESETS", "wide:4097", "must not exceed 4096 pixels"],
  ["IMAGE_PRESETS", "tall:1x4097", "must not exceed 4096 pixels"],
  ["IMAGE_PRESETS", "a:1,a:2", "must name each preset once"],
  ["IMAGE_PRESETS", ",", "must name a preset"],
  [
    "IMAGE_PRESETS",
    Array.from({ length: 17 }, (_, index) => `p${index}:9`).join(","),
    "must not name more than 16 presets",
  ],
  ["IMAGE_FORMATS", "avif", "must have webp or jpeg among them, for clients that cannot show avif"],
  ["IMAGE_WORKERS", "0", "Too small: expected number to be >=1"],
])("%s is refused when it is %s", (name, value, problem) => {
  expect(() => loadConfig({ [name]: value })).toThrow(`${name}: ${problem}`);
});

test("a preset of one number is the longest side, one of two is cropped to", () => {
  expect(loadConfig({ IMAGE_PRESETS: "icon:16x24, wide:4096" }).IMAGE_PRESETS).toEqual([
    { name: "icon", width: 16, height: 24, fit: "cover" },
    { name: "wide", width: 4096, height: 4096, fit: "inside" },
  ]);
});

test("images have files of the presets and formats that are configured, and no others", () => {
  const settings = loadConfig({ IMAGE_PRESETS: "icon:16", IMAGE_FORMATS: "webp" });
  expect(isConfigured({ preset: "icon", format: "webp" }, settings)).toBe(true);
  expect(isConfigured({ preset: "icon", format: "avif" }, settings)).toBe(false);
  expect(isConfigured({ preset: "thumb", format: "webp" }, settings)).toBe(false);
});
