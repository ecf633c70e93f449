import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { canonicalJson } from "../../../lib/canonical-json.ts";
import { createCursorCodec } from "../../../lib/cursor.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const codec = createCursorCodec(SECRET);

const position = fc.array(fc.oneof(fc.string({ unit: "binary" }), fc.integer()), { maxLength: 4 });
const scope = fc.record({
  sort: fc.constantFrom("createdAt", "lastName"),
  filter: fc.dictionary(fc.string(), fc.string()),
});

describe("a cursor", () => {
  test("leads back to its position", () => {
    fc.assert(
      fc.property(position, scope, (at, of) => {
        expect(codec.decode(codec.encode(at, of), of)).toEqual(at);
      }),
    );
  });

  test("can stand in a URL as it is", () => {
    fc.assert(
      fc.property(position, (at) => {
        expect(codec.encode(at, {})).toMatch(/^[A-Za-z0-9_-]+$/);
      }),
    );
  });

  test("is refused after any change of one character, also to one that base64 skips", () => {
    const character = fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 1 });
    fc.assert(
      fc.property(position, fc.nat(), character, fc.boolean(), (at, seed, replacement, isInserted) => {
        const cursor = codec.encode(at, {});
        const index = seed % (cursor.length + 1);
        const changed = cursor.slice(0, index) + replacement + cursor.slice(isInserted ? index : index + 1);
        fc.pre(changed !== cursor);
        expect(codec.decode(changed, {})).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  test("is refused when it is cut off", () => {
    const cursor = codec.encode(["2030-01-01T00:00:00.000Z", "id"], {});
    for (let length = 0; length < cursor.length; length += 1) {
      expect(codec.decode(cursor.slice(0, length), {})).toBeUndefined();
    }
  });

  test("is refused for any other scope", () => {
    fc.assert(
      fc.property(position, scope, scope, (at, one, other) => {
        fc.pre(canonicalJson(one) !== canonicalJson(other));
        expect(codec.decode(codec.encode(at, one), other)).toBeUndefined();
      }),
    );
  });

  test("is good for an equal scope, in whatever order its members are written", () => {
    const after = new Date("2030-01-01T00:00:00Z");
    const cursor = codec.encode(["a"], { sort: "createdAt", filter: { country: "DE", after } });
    expect(
      codec.decode(cursor, { filter: { after: new Date(after), country: "DE" }, sort: "createdAt" }),
    ).toEqual(["a"]);
  });

  test("is refused by a codec with another secret", () => {
    const other = createCursorCodec(SECRET.toUpperCase());
    expect(other.decode(codec.encode(["a"], {}), {})).toBeUndefined();
  });

  test("is good on every node that has the secret", () => {
    expect(createCursorCodec(SECRET).decode(codec.encode(["a", 1], {}), {})).toEqual(["a", 1]);
  });

  test.each(["", "!", "AAAA", "null", "../../etc/passwd", "A".repeat(1000)])(
    "that we never made is refused: %j",
    (text) => {
      expect(codec.decode(text, {})).toBeUndefined();
    },
  );
});
