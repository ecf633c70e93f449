import { describe, expect, test } from "@jest/globals";

import { codedTag, entityTag, expectedVersionsOf, knownTag } from "../../../../services/api/entity-tag.ts";

describe("an entity tag", () => {
  test("differs by version and by format", () => {
    expect(entityTag(3, "json")).toBe('"3"');
    expect(entityTag(3, "xml")).toBe('"3-xml"');
    expect(entityTag(33, "json")).toBe('"33"');
  });

  test.each(["json", "xml"] as const)("in %s names the version that it was made from", (format) => {
    for (const version of [1, 9, 10, 999_999_999]) {
      const tag = entityTag(version, format);
      expect(expectedVersionsOf(tag)).toEqual([version]);
      for (const coding of ["br", "deflate", "gzip"]) {
        expect(codedTag(tag, coding)).not.toBe(tag);
        expect(expectedVersionsOf(codedTag(tag, coding))).toEqual([version]);
      }
    }
  });
});

describe("If-Match", () => {
  test.each([undefined, "*", " * "])("%j allows any version", (header) => {
    expect(expectedVersionsOf(header)).toBeUndefined();
  });

  test.each([
    ['"1"', [1]],
    ['"1-xml"', [1]],
    ['"1", "2-xml","3"', [1, 2, 3]],
    [' "7" ', [7]],
    ['"999999999"', [999_999_999]],
    ['"1", W/"2"', [1]],
    ['W/"1"', []],
    ["1", []],
    ['"0"', []],
    ['"01"', []],
    ['"-1"', []],
    ['"1.0"', []],
    ['"1-json"', []],
    ['"1-gzip", "2-xml-br"', [1, 2]],
    ['"1-gzip-xml"', []],
    ['"1-gzip-gzip"', []],
    ['"1-zip"', []],
    ['"9999999999"', []],
    ['"1', []],
    ['"abc"', []],
    ['"*"', []],
    ["", []],
    [",", []],
  ])("%j allows the versions %j", (header, versions) => {
    expect(expectedVersionsOf(header)).toEqual(versions);
  });
});

describe("If-None-Match", () => {
  test.each([
    ['"3"', '"3"'],
    ['W/"3"', '"3"'],
    ['"1", "3"', '"3"'],
    ['"1",W/"3"', '"3"'],
    ['"2-gzip", "3-gzip"', '"3-gzip"'],
    ["*", '"3"'],
    [" * ", '"3"'],
  ])("%j knows version 3 as %s", (header, known) => {
    expect(knownTag(header, '"3"')).toBe(known);
  });

  test.each([undefined, "", '"2"', '"33"', "3", '"3-xml"', '"3-xml-gzip"', 'w/"3"', '"*"'])(
    "%j does not know version 3",
    (header) => {
      expect(knownTag(header, '"3"')).toBeUndefined();
    },
  );
});
