/** `npm run docs`: writes what is generated from the code. A test fails while a file is not what this writes. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { generatedFiles, ROOT } from "./docs/generated-files.ts";

for (const [path, text] of Object.entries(await generatedFiles())) {
  await writeFile(join(ROOT, path), text);
  console.log(`wrote ${path}`);
}
