import { createLogger } from "../lib/logger.ts";
import { StartupError } from "../lib/startup-error.ts";
import { exitBecauseOf } from "./exit.ts";
import { migrate } from "./migrate.ts";
import { readConfig } from "./read-config.ts";

/** `npm run migrate`: brings the database of DATABASE_URL to the newest schema. Embedded mode does it by itself. */
try {
  const config = readConfig();
  if (!config.DATABASE_URL) throw new StartupError("DATABASE_URL is not set: there is nothing to migrate.");
  const log = createLogger(config);
  const applied = await migrate(config.DATABASE_URL, log);
  if (applied.length === 0) log.info("the database is up to date");
} catch (error) {
  exitBecauseOf(error);
}
