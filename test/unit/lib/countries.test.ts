import { describe, expect, test } from "@jest/globals";

import { COUNTRY_CODES } from "../../../lib/countries.ts";

describe("the countries of ISO 3166-1", () => {
  test("are 249, each once, with a code of two capitals", () => {
    expect(new Set(COUNTRY_CODES).size).toBe(249);
    expect(COUNTRY_CODES).toHaveLength(249);
    for (const code of COUNTRY_CODES) expect(code).toMatch(/^[A-Z]{2}$/);
  });

  test("all have a name, so none is made up", () => {
    const names = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
    expect(COUNTRY_CODES.filter((code) => names.of(code) === undefined)).toEqual([]);
  });

  test.each(["UK", "EU", "XK", "AN", "SU", "ZZ", "AA"])(
    "do not include %s, which is reserved or was withdrawn",
    (code) => {
      expect(COUNTRY_CODES).not.toContain(code);
    },
  );
});
