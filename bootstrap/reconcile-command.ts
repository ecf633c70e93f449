import { parseArgs } from "node:util";
import { Database } from "../lib/database.ts";
import { createLogger } from "../lib/logger.ts";
import { StartupError } from "../lib/startup-error.ts";
import { createStorage } from "../lib/storage/create-storage.ts";
import { reportLines } from "../services/images/reconcile-report.ts";
import { reconcile } from "../services/images/reconcile.ts";
import { exitBecauseOf } from "./exit.ts";
import { requireMigrated } from "./migrate.ts";
import { readConfig } from "./read-config.ts";

const USAGE = "Usage: npm run images:reconcile [-- --fix]";

/**
 * `npm run images:reconcile [-- --fix]`: finds images without bytes and bytes without an image, and removes both with
 * `--fix`. No node need be running.
 */
try {
  const fix = readFix();
  const config = readConfig();
  const { DATABASE_URL } = config;
  if (!DATABASE_URL) throw new StartupError("DATABASE_URL is not set: there are no images to look at.");
  await requireMigrated(DATABASE_URL);
  const log = createLogger(config);
  const database = new Database({ ...config, DATABASE_URL }, log);
  const storage = await createStorage(config, log);
  try {
    const report = await reconcile({ database, storage, config }, { fix });
    process.stdout.write(`${reportLines(report).join("\n")}\n`);
    if (report.found > 0 && !report.isFixed) process.exitCode = 1;
  } finally {
    storage.close();
    await database.close();
  }
} catch (error) {
  exitBecauseOf(error);
}

function readFix(): boolean {
  try {
    return parseArgs({ options: { fix: { type: "boolean", default: false } } }).values.fix;
  } catch {
    throw new StartupError(USAGE);
  }
}
