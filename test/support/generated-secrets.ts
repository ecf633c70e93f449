import { execFileSync } from "node:child_process";
import { join } from "node:path";

import { temporaryDir } from "./test-run.ts";

/** Runs scripts/make-secrets.sh on a folder, by default a new one. */
export function makeSecrets(folder = join(temporaryDir("secrets"), "new")): string {
  execFileSync(join(import.meta.dirname, "../../scripts/make-secrets.sh"), [folder]);
  return folder;
}
