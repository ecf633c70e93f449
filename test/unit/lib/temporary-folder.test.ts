import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { chown, mkdir, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setImmediate } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";

import { openTemporaryFolder, type TemporaryFolder } from "../../../lib/temporary-folder.ts";
import { temporaryDir } from "../../support/test-run.ts";

const NOBODY = 65_534;
const isRoot = process.geteuid?.() === 0;

test("folders that are opened at the same time are all there, and no other user may enter them", async () => {
  const opening: Promise<TemporaryFolder>[] = [];
  for (let count = 0; count < 200; count += 1) {
    opening.push(openTemporaryFolder("unit"));
    await setImmediate();
  }
  const folders = await Promise.all(opening);
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(`rollcall-unit-${process.pid}-`));
  const modes = names.map((name) => statSync(join(tmpdir(), name)).mode & 0o777);
  await Promise.all(folders.map((folder) => folder.remove()));
  expect(modes).toEqual(folders.map(() => 0o700));
});

describe("a folder", () => {
  let folder: TemporaryFolder;

  beforeEach(async () => {
    folder = await openTemporaryFolder("unit");
  });

  afterEach(() => folder.remove());

  const currentPath = (): Promise<string> => folder.use(async (path) => dirname(path));

  test("gives each work a path of its own, and removes what it has put there", async () => {
    const place = await folder.use(async (path) => {
      await folder.use(async (other) => expect(other).not.toBe(path));
      await mkdir(path);
      await writeFile(join(path, "file"), "x");
      return path;
    });
    expect(existsSync(place)).toBe(false);
    const failing = folder.use(async (path) => {
      await writeFile(path, "x");
      throw new Error(path);
    });
    await expect(failing).rejects.toThrow(dirname(place));
    expect(await readdir(dirname(place))).toEqual([]);
  });

  test("is made again, once, when the system has removed it", async () => {
    const old = await currentPath();
    await rm(old, { recursive: true });
    const made = new Set(await Promise.all(Array.from({ length: 10 }, currentPath)));
    expect(made.size).toBe(1);
    const [path = ""] = made;
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    await folder.remove();
    expect(existsSync(path)).toBe(false);
  });

  test("is not made again after its end", async () => {
    const path = await currentPath();
    const using = currentPath();
    await Promise.all([folder.remove(), using.catch(() => undefined)]);
    await expect(currentPath()).rejects.toThrow("no temporary files any more");
    expect(
      (await readdir(dirname(path))).filter((name) => name.startsWith(`rollcall-unit-${process.pid}-`)),
    ).toEqual([]);
  });

  test.each([
    ["a link", (path: string, elsewhere: string) => symlink(elsewhere, path)],
    ["a file", (path: string) => writeFile(path, "x")],
    ...(isRoot ? [["a folder of another user", makeForeign] as const] : []),
  ])("is not looked for in what has since been put in its place: %s", async (_what, put) => {
    const elsewhere = temporaryDir("elsewhere");
    await writeFile(join(elsewhere, "precious"), "x");
    const old = await currentPath();
    await rm(old, { recursive: true });
    await put(old, elsewhere);
    const path = await currentPath();
    expect(dirname(path)).toBe(dirname(old));
    expect(path).not.toBe(old);
    await folder.remove();
    expect(existsSync(path)).toBe(false);
    expect(existsSync(old)).toBe(true);
    await rm(old, { recursive: true });
    expect(await readdir(elsewhere)).toEqual(["precious"]);
  });

  test("on a disk without room is not available", async () => {
    const full = folder.use(() => writeFile("/dev/full", "x"));
    await expect(full).rejects.toMatchObject({ type: "STORAGE_UNAVAILABLE", code: 503 });
  });
});

test("what a killed process has left is removed, but for what another user has put there under such a name", async () => {
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  const left = join(tmpdir(), `rollcall-unit-${pid}-left`);
  const foreign = join(tmpdir(), `rollcall-unit-${pid}-foreign`);
  await mkdir(left);
  if (isRoot) await makeForeign(foreign);
  else await symlink(temporaryDir("elsewhere"), foreign);
  const folder = await openTemporaryFolder("unit");
  await folder.remove();
  expect([existsSync(left), existsSync(foreign)]).toEqual([false, true]);
  await rm(foreign, { recursive: true });
});

async function makeForeign(path: string): Promise<void> {
  await mkdir(path);
  await chown(path, NOBODY, NOBODY);
}
