import { glob, utimes } from "node:fs/promises";
import { join } from "node:path";

const HOURS_MS = 2 * 3_600_000;

/** Makes the objects of a storage on the disk older than everything that may still be under way. */
export async function ageObjects(dataDir: string): Promise<void> {
  const time = new Date(Date.now() - HOURS_MS);
  const root = join(dataDir, "images");
  const entries = await Array.fromAsync(glob("**", { cwd: root, withFileTypes: true }));
  const files = entries.filter((entry) => entry.isFile());
  await Promise.all(files.map(({ parentPath, name }) => utimes(join(parentPath, name), time, time)));
}
