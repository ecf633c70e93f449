import { randomBytes } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder } from "../lib/make-folder.ts";
import { StartupError } from "../lib/startup-error.ts";

/** As SECRET. */
const MIN_LENGTH = 32;

/**
 * Reads a secret that is kept with the data of a node that is not given one; makes it the first time, of 32 bytes in
 * hexadecimal.
 *
 * @throws StartupError when it cannot be made, or there is not all of it
 */
export async function readOrCreateSecret(dataDir: string, name: string): Promise<string> {
  const path = join(dataDir, name);
  try {
    await makeFolder(dataDir);
    await create(path);
  } catch (error) {
    throw new StartupError(`DATA_DIR '${dataDir}' is not writable: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const secret = await readFile(path, "utf8");
  if (secret.length >= MIN_LENGTH) return secret;
  // A process or machine that died while it wrote. A key that everybody can guess would open what it signs.
  throw new StartupError(
    `'${path}' does not hold a whole secret. Restore it from the backup of DATA_DIR, or delete it to have another one made.`,
  );
}

/** Makes the file, whole or not at all, unless it is there. */
async function create(path: string): Promise<void> {
  try {
    await writeFile(path, randomBytes(32).toString("hex"), { flag: "wx", mode: 0o600, flush: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return;
    // On a full disk it is there, and empty.
    await rm(path, { force: true }).catch(() => undefined);
    throw error;
  }
}
