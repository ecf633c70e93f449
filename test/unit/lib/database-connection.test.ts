import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { toIsoText } from "../../../lib/database-connection.ts";

describe("a timestamp of PostgreSQL", () => {
  test.each([
    ["2030-01-31 12:00:00+00", "2030-01-31T12:00:00.000Z"],
    ["2030-01-31 12:00:00.5+00", "2030-01-31T12:00:00.500Z"],
    ["2030-01-31 12:00:00.05+00", "2030-01-31T12:00:00.050Z"],
    ["2030-01-31 12:00:00.123456+00", "2030-01-31T12:00:00.123Z"],
    ["2030-01-31 12:00:00.5+02", "2030-01-31T10:00:00.500Z"],
    ["2030-01-31 12:00:00+05:30", "2030-01-31T06:30:00.000Z"],
    ["10000-01-01 00:00:00+00", "+010000-01-01T00:00:00.000Z"],
  ])("%s is %s", (text, iso) => {
    expect(toIsoText(text)).toBe(iso);
  });

  test("is the text of the Date that it stands for", () => {
    const [min, max] = [new Date("1000-01-01T00:00:00Z"), new Date("9999-12-31T23:59:59.999Z")];
    fc.assert(
      fc.property(fc.date({ min, max, noInvalidDate: true }), (date) => {
        const written = date
          .toISOString()
          .replace("T", " ")
          .replace(/\.?0*Z$/, "+00");
        expect(toIsoText(written)).toBe(date.toISOString());
      }),
    );
  });

  test.each(["infinity", "-infinity", "0044-03-15 12:00:00+00 BC"])("%s is refused", (text) => {
    expect(() => toIsoText(text)).toThrow(RangeError);
  });
});
