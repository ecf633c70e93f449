import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { DOMAIN_EVENTS } from "../../lib/contracts.ts";
import { accessDoc } from "./access-doc.ts";
import { asyncApiDocument } from "./asyncapi.ts";
import { envExample } from "./env-example.ts";
import { errorsDoc } from "./errors-doc.ts";
import { eventsDoc } from "./events-doc.ts";
import { withSettingsTable } from "./settings-table.ts";

export const ROOT = join(import.meta.dirname, "../..");

/** Every file of the repository that is generated, wholly or in part: its path and the text it should have. */
export async function generatedFiles(): Promise<Record<string, string>> {
  const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { version: string };
  return {
    ".env.example": envExample(),
    "docs/access.md": accessDoc(),
    "docs/asyncapi.json": asyncApiDocument(DOMAIN_EVENTS, version),
    "docs/errors.md": errorsDoc(),
    "docs/events.md": eventsDoc(DOMAIN_EVENTS),
    "README.md": withSettingsTable(await readFile(join(ROOT, "README.md"), "utf8")),
  };
}
