import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { envExample } from "./env-example.ts";
import { errorsDoc } from "./errors-doc.ts";
import { withSettingsTable } from "./settings-table.ts";

export const ROOT = join(import.meta.dirname, "../..");

/** Every file of the repository that is generated, wholly or in part: its path and the text it should have. */
export async function generatedFiles(): Promise<Record<string, string>> {
  return {
    ".env.example": envExample(),
    "docs/errors.md": errorsDoc(),
    "README.md": withSettingsTable(await readFile(join(ROOT, "README.md"), "utf8")),
  };
}
