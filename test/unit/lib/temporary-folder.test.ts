import { stat } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";

import { expect, test } from "@jest/globals";

import { openTemporaryFolder, type TemporaryFolder } from "../../../lib/temporary-folder.ts";

test("folders that are opened at the same time are all there, and no other user may enter them", async () => {
  const opening: Promise<TemporaryFolder>[] = [];
  for (let count = 0; count < 200; count += 1) {
    opening.push(openTemporaryFolder("unit"));
    await setImmediate();
  }
  const folders = await Promise.all(opening);
  const modeOf = async ({ path }: TemporaryFolder) => (await stat(path)).mode & 0o777;
  const modes = await Promise.all(folders.map((folder) => modeOf(folder).catch(() => "gone")));
  await Promise.all(folders.map((folder) => folder.remove()));
  expect(modes).toEqual(folders.map(() => 0o700));
});
