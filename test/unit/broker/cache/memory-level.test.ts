import { beforeEach, describe, expect, test } from "@jest/globals";
import fc from "fast-check";

import { encode, entryOf, type Keepable } from "../../../../broker/cache/entry.ts";
import { MemoryLevel } from "../../../../broker/cache/memory-level.ts";

const MAX_ENTRIES = 50;
const MAX_BYTES = 100_000;

let evictions: string[];
let memory: MemoryLevel;

beforeEach(() => {
  evictions = [];
  memory = new MemoryLevel({
    maxEntries: MAX_ENTRIES,
    maxBytes: MAX_BYTES,
    onEviction: (namespace) => evictions.push(namespace),
  });
});

function keepable(version: number, text = "x", lifeMs = 60_000): Keepable {
  const entry = entryOf({ version, text });
  return { entry, text: encode(entry), lifeMs };
}

const versionOf = (key: string): number | undefined => memory.get(key)?.version;
const now = (): number => performance.now();
const sizes = (): { entries: number; bytes: number } => {
  const all = [...memory.sizes.values()];
  return {
    entries: all.reduce((sum, { entries }) => sum + entries, 0),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
  };
};

describe("the limits", () => {
  test("are never exceeded, by one entry or one byte, whatever is done", () => {
    const key = fc.integer({ min: 0, max: 200 }).map((n) => `a.get:${n}`);
    const step = fc.record({
      key,
      version: fc.integer({ min: 1, max: 5 }),
      length: fc.integer({ min: 0, max: 3000 }),
      what: fc.constantFrom("fill", "write", "raise", "drop"),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 100, maxLength: 500 }), (steps) => {
        for (const { key: of, version, length, what } of steps) {
          if (what === "fill") memory.fill(of, keepable(version, "x".repeat(length)), now());
          else if (what === "write") memory.write(of, keepable(version, "x".repeat(length)));
          else if (what === "raise") memory.raise(of, version);
          else memory.drop(of);
          const { entries, bytes } = sizes();
          expect(entries).toBeLessThanOrEqual(MAX_ENTRIES);
          expect(bytes).toBeLessThanOrEqual(MAX_BYTES);
          expect(entries).toBe([...memory.recent("a.get")].length);
        }
      }),
      { numRuns: 20 },
    );
  });

  test("let the entry go first that was used least recently", () => {
    for (let count = 0; count < MAX_ENTRIES; count += 1) memory.write(`a.get:${count}`, keepable(1));
    memory.get("a.get:0");
    memory.write("a.get:new", keepable(1));
    expect([versionOf("a.get:0"), versionOf("a.get:1"), versionOf("a.get:new")]).toEqual([1, undefined, 1]);
    expect(evictions).toEqual(["a.get"]);
  });

  test("do not take an entry that is larger than all, nor keep what it was to replace", () => {
    memory.write("a.get:1", keepable(1));
    memory.write("a.get:1", keepable(2, "x".repeat(MAX_BYTES)));
    expect(versionOf("a.get:1")).toBeUndefined();
  });
});

describe("an entry", () => {
  test("does not take the place of a newer one", () => {
    memory.write("a.get:1", keepable(3));
    expect(memory.fill("a.get:1", keepable(2), now())).toBe(false);
    memory.write("a.get:1", keepable(2));
    expect(versionOf("a.get:1")).toBe(3);
  });

  test("is refused when something newer was heard of, also long after that was dropped", () => {
    memory.raise("a.get:1", 3);
    expect(memory.fill("a.get:1", keepable(2), now())).toBe(false);
    expect(memory.fill("a.get:1", keepable(3), now())).toBe(true);
  });

  test("stays when what is heard of is no newer", () => {
    memory.write("a.get:1", keepable(3));
    memory.raise("a.get:1", 3);
    memory.raise("a.get:1", 2);
    expect(versionOf("a.get:1")).toBe(3);
  });

  test("is refused when its read began before it was dropped by hand, and not later", () => {
    const before = now();
    memory.write("a.get:1", keepable(3));
    memory.drop("a.get:1");
    expect(memory.fill("a.get:1", keepable(3), before - 1)).toBe(false);
    // The version may be lower: a database was restored.
    expect(memory.fill("a.get:1", keepable(1), now())).toBe(true);
  });

  test("of another namespace stays when one is cleared", () => {
    memory.write("a.get:1", keepable(1));
    memory.write("b.get:1", keepable(1));
    memory.clear((key) => key.startsWith("a."));
    expect([versionOf("a.get:1"), versionOf("b.get:1")]).toEqual([undefined, 1]);
    expect(memory.sizes.get("a.get")).toEqual({ entries: 0, bytes: 0 });
  });

  test("is gone after its life", () => {
    memory.write("a.get:1", keepable(1, "x", 0));
    expect(versionOf("a.get:1")).toBeUndefined();
    expect(sizes().entries).toBe(0);
  });

  test("cannot be changed by those who get it", () => {
    memory.write("a.get:1", keepable(1));
    expect(() => Object.assign(memory.get("a.get:1") ?? {}, { version: 2 })).toThrow(TypeError);
  });
});

test("what is forgotten of changes, since they are too many, is made up for by refusing all reads from before", () => {
  const before = now();
  for (let count = 0; count <= 20_000; count += 1) memory.raise(`a.get:${count}`, 2);
  // The first is forgotten.
  expect(memory.fill("a.get:0", keepable(1), before - 1)).toBe(false);
  expect(memory.fill("a.get:0", keepable(2), now())).toBe(true);
});
