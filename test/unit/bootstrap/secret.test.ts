import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";

import { readOrCreateSecret } from "../../../bootstrap/secret.ts";

let parent: string;
let dataDir: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "rollcall-secret-"));
  dataDir = join(parent, "data");
});

afterEach(() => rm(parent, { recursive: true, force: true }));

describe("a secret that is kept with the data", () => {
  test("is made the first time, for its owner alone, and stays", async () => {
    const made = await readOrCreateSecret(dataDir, "secret");

    expect(made).toMatch(/^[\da-f]{64}$/);
    expect((await stat(join(dataDir, "secret"))).mode & 0o777).toBe(0o600);
    expect(await readOrCreateSecret(dataDir, "secret")).toBe(made);
    expect(await readOrCreateSecret(dataDir, "other")).not.toBe(made);
  });

  test.each(["", "0123456789abcdef"])("is not used when only %j of it was written", async (rest) => {
    await readOrCreateSecret(dataDir, "secret");
    await writeFile(join(dataDir, "secret"), rest);

    await expect(readOrCreateSecret(dataDir, "secret")).rejects.toMatchObject({
      name: "StartupError",
      message: expect.stringContaining(join(dataDir, "secret")),
    });
    expect(await readFile(join(dataDir, "secret"), "utf8")).toBe(rest);
  });

  test("is not made where nothing can be written, which is said", async () => {
    await writeFile(dataDir, "a file");

    await expect(readOrCreateSecret(dataDir, "secret")).rejects.toMatchObject({
      name: "StartupError",
      message: expect.stringContaining("DATA_DIR"),
    });
  });
});
