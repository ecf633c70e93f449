import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StartupError } from "../lib/startup-error.ts";

/**
 * Reads a secret that is kept with the data of a node that is not given one; makes it the first time, of 32 bytes in
 * hexadecimal.
 */
export async function readOrCreateSecret(dataDir: string, name: string): Promise<string> {
  const path = join(dataDir, name);
  try {
    await mkdir(dataDir, { recursive: true });
    await writeFile(path, randomBytes(32).toString("hex"), { flag: "wx", mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
      throw new StartupError(`DATA_DIR '${dataDir}' is not writable: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  return readFile(path, "utf8");
}
