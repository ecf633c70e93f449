import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { beforeEach, describe, expect, test } from "@jest/globals";

import { makeFolder } from "../../../lib/make-folder.ts";
import { temporaryDir } from "../../support/test-run.ts";

let parent: string;

beforeEach(() => {
  parent = temporaryDir("folders");
});

describe("making a folder", () => {
  test("makes those above it too, and says which was the first", async () => {
    const path = join(parent, "a", "b", "c");
    expect(await makeFolder(path, 0o700)).toBe(join(parent, "a"));
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    expect((await stat(join(parent, "a"))).mode & 0o777).toBe(0o700);
    expect(await makeFolder(join(parent, "a", "b", "d"))).toBe(join(parent, "a", "b", "d"));
  });

  test("leaves one alone that is there", async () => {
    expect(await makeFolder(parent)).toBeUndefined();
    expect(await makeFolder("/")).toBeUndefined();
  });

  test("is done by several at the same time", async () => {
    const paths = Array.from({ length: 20 }, (_, index) => join(parent, "a", "b", String(index % 2)));
    await Promise.all(paths.map((path) => makeFolder(path)));
    for (const path of paths) expect((await stat(path)).isDirectory()).toBe(true);
  });

  test("fails where there is a file", async () => {
    const file = join(parent, "file");
    await writeFile(file, "");
    await expect(makeFolder(file)).rejects.toMatchObject({ code: "EEXIST" });
    await expect(makeFolder(join(file, "a", "b"))).rejects.toMatchObject({ code: "ENOTDIR" });
  });

  // Node's own would never end.
  test.each(["/proc/a", "/proc/a/b/c"])("fails where there can be none: %s", async (path) => {
    await expect(makeFolder(path)).rejects.toMatchObject({ code: "ENOENT" });
  });
});
