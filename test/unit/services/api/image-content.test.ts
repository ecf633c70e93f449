import { describe, expect, test } from "@jest/globals";

import { MEDIA_FORMATS } from "../../../../lib/media-path.ts";
import { preferredFormat } from "../../../../services/api/image-content.ts";

const formatFor = (accept: string | undefined, available = MEDIA_FORMATS.slice()) =>
  preferredFormat({ headers: { ...(accept !== undefined && { accept }) } }, available);

describe("the format of an image", () => {
  test.each([
    ["image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "avif"],
    ["image/webp,image/avif,image/jxl,image/heic,video/*;q=0.8,image/png,*/*;q=0.5", "avif"],
    ["image/webp,*/*", "webp"],
    ["image/webp", "webp"],
    [",,image/webp,", "webp"],
    ["IMAGE/AVIF", "avif"],
    ["image/jpeg", "jpeg"],
    ["image/png, image/jpeg;q=0.1", "jpeg"],
  ])("for a client that says %s is %s", (accept, format) => {
    expect(formatFor(accept)).toBe(format);
  });

  test.each([undefined, "", ",, ,", "*/*", ",*/*,", "image/*", "text/html,application/xhtml+xml,*/*;q=0.8"])(
    "for a client that names none (%s) is the one that all can show",
    (accept) => {
      expect(formatFor(accept)).toBe("jpeg");
      expect(formatFor(accept, ["avif", "webp"])).toBe("webp");
    },
  );

  test.each([
    ["image/avif;q=0.5,image/webp;q=0.9", "webp"],
    ["image/avif;q=0.1,*/*", "jpeg"],
    ["image/avif;q=0,image/webp;q=0,*/*", "jpeg"],
    ["image/jpeg;q=1.0,image/avif;q=0.999", "jpeg"],
  ])("follows the quality values: %s is %s", (accept, format) => {
    expect(formatFor(accept)).toBe(format);
  });

  test.each(["image/png", "text/html", "image/avif;q=0", "image/*;q=0"])(
    "is none for a client that takes none: %j",
    (accept) => {
      expect(formatFor(accept, ["avif"])).toBeUndefined();
    },
  );

  test("is one that there is", () => {
    expect(formatFor("image/avif,image/webp;q=0.5", ["webp", "jpeg"])).toBe("webp");
    expect(formatFor("image/avif", ["webp", "jpeg"])).toBeUndefined();
  });
});
