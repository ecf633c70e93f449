import type { IncomingMessage } from "node:http";

import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { negotiate, negotiateProblem, toXml, type Format } from "../../../../services/api/representation.ts";

const requestWith = (accept: string | undefined) => ({ headers: { accept } }) as unknown as IncomingMessage;

describe("the format", () => {
  test.each<[string | undefined, Format]>([
    [undefined, "json"],
    ["", "json"],
    [",, ,", "json"],
    [",application/xml,,", "xml"],
    ["*/*", "json"],
    ["application/json", "json"],
    ["APPLICATION/JSON", "json"],
    ["application/json; charset=UTF-8", "json"],
    ["application/json, text/plain, */*", "json"],
    ["text/html, application/xhtml+xml, */*;q=0.8", "json"],
    ["application/*", "json"],
    ["application/problem+json", "json"],
    ["application/json;q=0.5, application/xml;q=0.4", "json"],
    ["application/xml", "xml"],
    ["text/xml", "xml"],
    ["application/xml;charset=utf-8", "xml"],
    ["text/*", "xml"],
    ["application/xml, application/json", "xml"],
    ["application/xml;q=0.5, application/json;q=0.4", "xml"],
    ["*/*;q=0.1, application/xml", "xml"],
    ["text/html, application/xml;q=0.9, */*;q=0.8", "xml"],
    ["application/json;q=0, */*", "xml"],
  ])("for Accept %j is %s", (accept, format) => {
    expect(negotiate(requestWith(accept))).toBe(format);
  });

  test.each([
    "text/html",
    "image/*",
    "application/json;q=0",
    "*/*;q=0",
    "application/json;version=2",
    "json",
  ])("for Accept %j is none, and JSON for an error", (accept) => {
    expect(() => negotiate(requestWith(accept))).toThrow(expect.objectContaining({ type: "NOT_ACCEPTABLE" }));
    expect(negotiateProblem(requestWith(accept))).toBe("json");
  });

  test("of an error is XML for who wants that", () => {
    expect(negotiateProblem(requestWith("application/problem+xml"))).toBe("xml");
    expect(negotiateProblem(requestWith("application/xml"))).toBe("xml");
  });
});

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>';

describe("XML", () => {
  test("has members as elements and entries of arrays as items", () => {
    const value = {
      id: "1",
      isOpen: false,
      count: 0,
      tags: ["a", "b"],
      owner: { name: "Ada" },
      rows: [{ n: 1 }, { n: 2 }],
    };
    expect(toXml("note", value)).toBe(
      `${DECLARATION}<note><id>1</id><isOpen>false</isOpen><count>0</count>` +
        "<tags><item>a</item><item>b</item></tags><owner><name>Ada</name></owner>" +
        "<rows><item><n>1</n></item><item><n>2</n></item></rows></note>",
    );
  });

  test("leaves null members out and keeps empty ones", () => {
    const value = { nickname: null, bio: undefined, name: "", imageUrls: [], nested: { nothing: null } };
    expect(toXml("user", value)).toBe(`${DECLARATION}<user><name/><imageUrls/><nested/></user>`);
  });

  test("has the namespace on its root", () => {
    expect(toXml("problem", { status: 404 }, "urn:ietf:rfc:7807")).toBe(
      `${DECLARATION}<problem xmlns="urn:ietf:rfc:7807"><status>404</status></problem>`,
    );
  });

  test.each([
    ["<script>&amp;\"'", "&lt;script&gt;&amp;amp;&quot;&apos;"],
    ["]]>", "]]&gt;"],
    ["a\u0000b\u0008c\u001fd", "a\ufffdb\ufffdc\ufffdd"],
    ["\ud800", "\ufffd"],
    ["\uffff\ufffe", "\ufffd\ufffd"],
    ["😀 zażółć", "😀 zażółć"],
    ["tab\tline\n", "tab\tline\n"],
    ["\r\n", "&#13;\n"],
  ])("has the text %j as %j", (text, written) => {
    expect(toXml("a", { text, list: [text] })).toBe(
      `${DECLARATION}<a><text>${written}</text><list><item>${written}</item></list></a>`,
    );
  });

  test("is well-formed whatever the texts are, and says the same", () => {
    const entities: Record<string, string> = {
      lt: "<",
      gt: ">",
      amp: "&",
      quot: '"',
      apos: "'",
      "#13": "\r",
    };
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1 }), (text) => {
        const xml = toXml("a", { text });
        const [, content = ""] = /^<\?xml [^?]*\?><a><text>([^<]*)<\/text><\/a>$/u.exec(xml) ?? [];
        expect(content).toMatch(
          /^(?:[\t\n\u{20}-\u{25}\u{27}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]|&(?:lt|gt|amp|quot|apos|#13);)+$/u,
        );
        const read = content.replaceAll(/&(#?\w+);/g, (_, name: string) => entities[name] ?? "");
        expect(read).toBe(
          text.replaceAll(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, "\ufffd"),
        );
      }),
    );
  });
});
