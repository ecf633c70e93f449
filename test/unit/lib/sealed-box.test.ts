import { describe, expect, test } from "@jest/globals";

import { derivedKey } from "../../../lib/derived-key.ts";
import { seal, unseal } from "../../../lib/sealed-box.ts";

const KEY = derivedKey("a secret", "test");

describe("a sealed text", () => {
  test.each(["", "rk_1a2b3c", "ünïcödé 💻"])("is opened with the same key: '%s'", (text) => {
    expect(unseal(seal(text, KEY), KEY)).toBe(text);
  });

  test("looks different each time, and shows nothing of the text", () => {
    expect(seal("text", KEY)).not.toBe(seal("text", KEY));
    expect(Buffer.from(seal("text", KEY), "base64url").includes("text")).toBe(false);
  });

  test("is not opened with a key of another secret or for another purpose", () => {
    expect(unseal(seal("text", KEY), derivedKey("another secret", "test"))).toBeUndefined();
    expect(unseal(seal("text", KEY), derivedKey("a secret", "another"))).toBeUndefined();
  });

  test("is not opened when any of its bytes was changed, or when it is cut off", () => {
    const bytes = Buffer.from(seal("text", KEY), "base64url");
    for (const index of bytes.keys()) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(index) ^ 1, index);
      expect(unseal(changed.toString("base64url"), KEY)).toBeUndefined();
      expect(unseal(bytes.subarray(0, index).toString("base64url"), KEY)).toBeUndefined();
    }
  });
});
