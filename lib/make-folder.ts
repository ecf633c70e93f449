import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Makes a folder, with those above it that are missing. Node's own `recursive` never ends where a folder refuses new
 * ones with ENOENT, as /proc and automounted folders do.
 *
 * @returns the first that was made; undefined when the folder was there
 * @throws the errors of `mkdir`
 */
export async function makeFolder(path: string, mode?: number): Promise<string | undefined> {
  try {
    return await makeOne(path, mode);
  } catch (error) {
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || parent === path) throw error;
    const firstMade = await makeFolder(parent, mode);
    const made = await makeOne(path, mode);
    return firstMade ?? made;
  }
}

/** @returns its path; undefined when it was there */
async function makeOne(path: string, mode?: number): Promise<string | undefined> {
  try {
    await mkdir(path, { mode });
    return path;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
    return undefined;
  }
}
